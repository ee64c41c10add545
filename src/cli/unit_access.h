#pragma once
// What the commands that go through the service manager share.

#include <string>

#include "cli/command.h"
#include "service/manager.h"
#include "service/unit_control.h"

namespace talaria::cli {

inline constexpr Millis manager_patience{10'000};  // for an answer, not for a job

[[nodiscard]] ManagerKind manager_of(Scope scope);
[[nodiscard]] Deadline soon();
[[nodiscard]] bool systemd_is_there();  // sd_booted(3)

// Connects, or says politely what there is instead of systemd and what to do.
[[nodiscard]] Result<UnitControl> connect_manager(Scope scope);

// Loads the configuration; prints every mistake and returns 78 when there are any, else 0. A file that this user may
// not read is left to the gateway to judge, unless `must_read`.
[[nodiscard]] int check_config(const ProfilePaths& paths, bool must_read);

// How the unit's last main process ended, in words: "exit code 78: the configuration is wrong".
[[nodiscard]] std::string describe_end(const UnitState& state);

// Before an operator's start: the manager forgets that the unit failed, and the starts that it counted against a start
// limit, which would refuse this one. A failure that is forgotten is named on stdout.
void clear_failure(UnitControl& control, const std::string& unit, const UnitState& state);

// "did not start: exit code 78, configuration is wrong (StatusText …)" and the last errors of its log on stderr;
// returns the exit code for the shell: the service's own where it means something there (77, 78), else 1.
int report_failed_unit(Scope scope, const std::string& unit, const UnitState& state, const std::string& verb);

}  // namespace talaria::cli
