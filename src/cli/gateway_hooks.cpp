// What the unit runs around the gateway: ExecStop= announces that the end of this very process is planned,
// ExecStopPost= writes down what the manager saw. Neither ever fails the unit, calls the manager (which waits for us)
// or takes long.
#include <fmt/format.h>

#include <charconv>

#include "base/environment.h"
#include "base/say.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "process/announcement.h"
#include "process/instance_lock.h"
#include "service/exit_record.h"

namespace talaria::cli {
namespace {

// $MAINPID; 0 where it is empty: the main process has ended by itself (systemd.service(5), ExecStop=).
pid_t main_pid() {
  const auto text = environment_variable("MAINPID");
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  return error == std::errc{} && end == text.data() + text.size() && pid > 0 ? pid : 0;
}

void complain(const Error& error) { say("talaria: {}\n", error.what); }

// The process is told at its control socket; one that doesn't answer there, because it starts, waits or hangs, finds
// the marker file when its SIGTERM comes. Both name the incarnation, so nothing is left for the next one to mistake.
void announce_stop(const Context& context) {
  const pid_t pid = main_pid();
  if (pid == 0) return;
  const auto target = incarnation_of(pid);
  if (!target) return;  // it has just ended: there is nothing to announce
  const auto paths = context.paths();
  if (!paths) return complain(paths.error());
  constexpr const char* by = "systemd ExecStop=";
  constexpr Millis patience{500};
  const auto told =
      control_call(*paths, "POST", "/control/announce", {{"target", to_string(*target)}, {"by", by}}, patience);
  if (told) return;
  const auto left = leave_announcement(paths->runtime_directory, {*target, by, boottime_now_ms()});
  if (!left) {
    complain(told.error());
    complain(left.error());
  }
}

// Whose end it was: the manager no longer says, but the lock file still holds the record of its last owner.
std::int64_t last_owner(const std::string& state_directory) {
  if (const pid_t pid = main_pid(); pid != 0) return pid;
  const auto lock = ask_instance_lock(state_directory);
  return lock && !lock->held && lock->record ? lock->record->incarnation.pid : 0;
}

void record_exit(const Context& context) {
  const auto paths = context.paths();
  if (!paths) return complain(paths.error());
  const ExitRecord record{.at = SystemWallClock().now(),
                          .service_result = environment_variable("SERVICE_RESULT"),
                          .exit_code = environment_variable("EXIT_CODE"),
                          .exit_status = environment_variable("EXIT_STATUS"),
                          .pid = last_owner(paths->state_directory),
                          .invocation_id = environment_variable("INVOCATION_ID"),
                          .oom_kills = oom_kills_here()};
  if (record.service_result.empty())
    return complain({ErrorKind::invalid, "record-exit is for the unit's ExecStopPost="});
  // No state directory: the gateway never came that far, and there is nothing to tell.
  const auto written = append_exit_record(paths->state_directory, record);
  if (!written && written.error().kind != ErrorKind::not_found) complain(written.error());
}

CLI::App* add_hidden(CLI::App& parent, const char* name, const char* description) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->group("");  // not in the help: the unit calls it
  return command;
}

}  // namespace

void add_gateway_announce_stop(CLI::App& parent, Context& context) {
  add_hidden(parent, "announce-stop", "For the unit's ExecStop=: say that the stop of $MAINPID is planned")
      ->callback([&context] { announce_stop(context); });
}

void add_gateway_record_exit(CLI::App& parent, Context& context) {
  add_hidden(parent, "record-exit", "For the unit's ExecStopPost=: write down what the manager saw")
      ->callback([&context] { record_exit(context); });
}

}  // namespace talaria::cli
