#pragma once
// `gateway install --print KIND`: the service's definition on standard output, for this profile and program.

#include <string>
#include <vector>

#include "cli/command.h"

namespace talaria::cli {

// systemd-system, systemd-user, runit, s6, supervisord, launchd.
[[nodiscard]] std::vector<std::string> printable_definitions();
[[nodiscard]] int print_definition(const Context& context, const std::string& kind, const std::string& run_as_user);

}  // namespace talaria::cli
