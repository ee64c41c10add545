#include "cli/unit_access.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/say.h"
#include "base/text.h"
#include "config/loading.h"
#include "lifecycle/exit_code.h"
#include "service/host_manager.h"
#include "service/journal.h"

namespace talaria::cli {
namespace {

void print_last_errors(Scope scope, const std::string& unit) {
  std::vector<std::string> lines;
  const JournalQuery query{.manager = manager_of(scope), .unit = unit, .last = 5, .max_priority = 4};
  (void)read_journal(query, [&](const JournalEntry& entry) {
    lines.push_back(format_entry(entry));
    return true;
  });
  for (const auto& line : lines) say("  {}\n", line);
}

}  // namespace

std::string describe_end(const UnitState& state) {
  if (state.exec_main_code == CLD_EXITED) {
    switch (static_cast<ExitCode>(state.exec_main_status)) {
      case ExitCode::config: return "exit code 78: the configuration is wrong";
      case ExitCode::permission: return "exit code 77: no permission";
      case ExitCode::usage: return "exit code 64: wrong command line; install it again";
      case ExitCode::again: return "exit code 75: it asks to be started again";
      default: break;
    }
    // systemd's own codes, of the step between fork and exec (systemd.exec(5)).
    if (state.exec_main_status == 203) return "exit code 203: the program can't be executed; install it again";
    if (state.exec_main_status >= 200)
      return fmt::format("exit code {}: the sandbox could not be set up", state.exec_main_status);
    return fmt::format("exit code {}", state.exec_main_status);
  }
  if (state.exec_main_code == CLD_KILLED || state.exec_main_code == CLD_DUMPED)
    return fmt::format("signal {}", ::strsignal(state.exec_main_status));
  return fmt::format("the manager's result is \"{}\"", state.result);
}

ManagerKind manager_of(Scope scope) {
  return scope == Scope::system ? ManagerKind::systemd_system : ManagerKind::systemd_user;
}

bool systemd_is_there() { return ::access("/run/systemd/system", F_OK) == 0; }

Deadline soon() { return Deadline::in(manager_patience); }

Result<UnitControl> connect_manager(Scope scope) {
  auto control = UnitControl::connect(manager_of(scope), soon());
  if (control) return control;
  if (!systemd_is_there()) return fail(ErrorKind::not_found, advice(find_host_manager()));
  if (scope == Scope::user)
    return fail(
        ErrorKind::not_found,
        fmt::format(
            "this user has no service manager ({}): log in as the user rather than with su, have it lingering with "
            "`loginctl enable-linger`, or use --system",
            control.error().what));
  return control;
}

int check_config(const ProfilePaths& paths, bool must_read) {
  if (::access(paths.config_file.c_str(), R_OK) != 0 && errno == EACCES && !must_read) return 0;
  if (::access(paths.config_file.c_str(), F_OK) != 0 && errno == ENOENT) {
    say("talaria: there is no configuration {}; write one (`talaria config explain` shows every key), then try again\n",
        paths.config_file);
    return static_cast<int>(ExitCode::config);
  }
  const auto loaded = load_config_file(paths.config_file);
  if (loaded.ok()) return 0;
  for (const auto& diagnostic : loaded.diagnostics) say("{}\n", to_string(diagnostic));
  say("talaria: the configuration is wrong, so nothing was touched\n");
  return static_cast<int>(ExitCode::config);
}

void clear_failure(UnitControl& control, const std::string& unit, const UnitState& state) {
  const bool failed = state.active_state == "failed";
  if (!failed && !state.has_start_limit()) return;
  if (!control.reset_failed(unit, soon()) || !failed) return;
  fmt::print("cleared the failed state of {} ({})\n", unit, describe_end(state));
  if (state.has_start_limit())
    fmt::print(
        "  it has a start limit of {} in {} s, which a failed service hits; `StartLimitIntervalSec=0` lifts it\n",
        state.start_limit_burst, state.start_limit_interval_usec / 1'000'000);
}

int report_failed_unit(Scope scope, const std::string& unit, const UnitState& state, const std::string& verb) {
  say("talaria: {} did not {}: {}{}{}\n", unit, verb, describe_end(state),
      state.status_text.empty() ? "" : "; it said: ", printable(state.status_text));
  if (state.sub_state == "auto-restart") say("The service manager goes on trying.\n");
  print_last_errors(scope, unit);
  const bool meant =
      state.exec_main_code == CLD_EXITED && (state.exec_main_status == static_cast<int>(ExitCode::config) ||
                                             state.exec_main_status == static_cast<int>(ExitCode::permission));
  return meant ? state.exec_main_status : static_cast<int>(ExitCode::unplanned);
}

}  // namespace talaria::cli
