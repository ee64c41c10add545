// The program: the one that asks, the one that the unit names, and the one that runs.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "cli/doctor/doctor.h"

namespace talaria::cli::doctor {
namespace fs = std::filesystem;

void check_program(Patient& patient, Findings& findings) {
  std::error_code ec;
  const auto own = fs::read_symlink("/proc/self/exe", ec).string();
  const auto said = findings.all().size();
  if (patient.has_unit() && !patient.unit->command.empty()) {
    const auto& named = patient.unit->command.front();
    const auto install = patient.talaria() + " gateway install";
    if (::access(named.c_str(), F_OK) != 0)
      findings.fail(fmt::format("the unit runs {}, which is not there", named), install);
    else if (::access(named.c_str(), X_OK) != 0)
      findings.fail(fmt::format("the unit runs {}, which can't be executed", named), "chmod 755 " + named);
    else if (!fs::equivalent(named, own, ec))
      findings.warn(fmt::format("the unit runs {}, this is {}", named, own), install);
  }
  const auto* version = patient.status.at("version").if_string();
  if (version != nullptr && std::string_view(*version) != TALARIA_VERSION)
    findings.warn(fmt::format("the gateway that runs is version {}, this program is {}", std::string_view(*version),
                              TALARIA_VERSION),
                  patient.talaria() + " gateway restart");
  // A gateway is not dumpable: only root may read the link.
  if (const auto* pid = patient.status.at("pid").if_int64()) {
    const auto running = fs::read_symlink(fmt::format("/proc/{}/exe", *pid), ec).string();
    if (!ec && running.ends_with(" (deleted)"))
      findings.warn(fmt::format("PID {} runs a program that was replaced on disk", *pid),
                    patient.talaria() + " gateway upgrade");
  }
  if (findings.all().size() == said) findings.ok(fmt::format("{} (version {})", own, TALARIA_VERSION));
}

}  // namespace talaria::cli::doctor
