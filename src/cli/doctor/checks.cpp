#include "cli/doctor/doctor.h"

namespace talaria::cli::doctor {
namespace {

// From what everything stands on to what stands on it: who mends from the top mends the cause first.
constexpr Check check_table[] = {
    {"manager", check_manager}, {"clock", check_clock},
    {"program", check_program}, {"configuration", check_configuration},
    {"secrets", check_secrets}, {"directories", check_directories},
    {"space", check_space},     {"owner", check_owner},
    {"store", check_store},     {"address", check_address},
    {"unit", check_unit},       {"promises", check_promises},
    {"boot", check_boot},       {"duplicates", check_duplicates},
    {"ends", check_ends},       {"work", check_work},
};

}  // namespace

std::span<const Check> checks() { return check_table; }

}  // namespace talaria::cli::doctor
