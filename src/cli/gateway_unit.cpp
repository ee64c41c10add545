// `talaria gateway start|stop|restart`: through the service manager, so that it knows what is planned; a gateway that
// was started by hand is asked at its control socket instead.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <memory>
#include <thread>

#include "base/say.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/duplicate_report.h"
#include "cli/reload.h"
#include "cli/unit_access.h"
#include "lifecycle/exit_code.h"
#include "process/instance_lock.h"
#include "service/units.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

// A start that takes longer goes on in the background: whatever holds it up is waited for inside the gateway.
constexpr Millis start_patience{120'000};
// For a gateway outside of a unit: its drain and what comes after.
constexpr Millis stop_patience{unit_stop_seconds * 1'000 + 5'000};
// "Still stopping" and "still starting": nothing failed, ask again later (EX_TEMPFAIL).
constexpr int still_at_it = static_cast<int>(ExitCode::again);

std::string asked_by(const char* verb) {
  const passwd* user = ::getpwuid(::geteuid());
  return fmt::format("talaria gateway {} (PID {}, {})", verb, ::getpid(), user == nullptr ? "?" : user->pw_name);
}

// What a command is about: the profile's unit, and whoever owns its home now.
struct Target {
  ProfilePaths paths;
  Scope scope = Scope::user;
  std::string unit;
  LockQuestion lock;
  bool lock_known = false;

  // Somebody runs this profile outside of any unit: by hand, in a container, or another manager than systemd does. It
  // is asked at its control socket.
  [[nodiscard]] bool runs_by_hand() const {
    return lock.held && (!lock.record || lock.record->unit.empty() || !is_systemd_scope(lock.record->scope));
  }
  // Another process takes its place when it restarts.
  [[nodiscard]] bool has_other_manager() const {
    return lock.record && !is_systemd_scope(lock.record->scope) && lock.record->scope != "none" &&
           lock.record->scope != to_string(ManagerKind::container);
  }
  [[nodiscard]] std::string owner() const {
    return lock.record ? fmt::format("PID {}", lock.record->incarnation.pid) : "an unknown process";
  }
};

Result<Target> find_target(const Context& context) {
  auto paths = context.paths();
  if (!paths) return std::unexpected(paths.error());
  Target target{*paths, context.scope(), unit_name(paths->profile), {}, false};
  // A home that this user may not look into belongs to a service that the manager can be asked about.
  if (auto lock = ask_instance_lock(target.paths.state_directory)) {
    target.lock = std::move(*lock);
    target.lock_known = true;
  }
  return target;
}

Error no_unit(const Target& target, const UnitState& state) {
  if (state.load_state == "not-found")
    return {ErrorKind::not_found,
            fmt::format("profile \"{}\" has no service: `talaria -p {} gateway install` makes one",
                        target.paths.profile, target.paths.profile)};
  return {ErrorKind::conflict, fmt::format("{} can't be used: systemd calls it \"{}\"", target.unit, state.load_state)};
}

void say_up(const Target& target, const UnitState& state, const char* what) {
  fmt::print("{} {} (PID {}){}{}\n", what, target.unit, state.main_pid, state.status_text.empty() ? "" : ": ",
             printable(state.status_text));
}

// After a start or restart job: success only when it serves or stands by.
int judge_start(UnitControl& control, const Target& target, JobResult result, const char* verb, const char* done) {
  const auto state = control.state(target.unit, soon());
  if (!state) return report(state.error());
  if (result == JobResult::pending) {
    say("talaria: {} is still starting{}{}\n", target.unit, state->status_text.empty() ? "" : ": ",
        printable(state->status_text));
    return still_at_it;
  }
  if (result == JobResult::done && state->active_state == "active") {
    say_up(target, *state, done);
    warn_of(duplicates_of(target.paths, target.scope, state->main_pid));
    return 0;
  }
  if (result == JobResult::canceled) {
    return report({ErrorKind::conflict, fmt::format("{}: another request took the place of this one", target.unit)});
  }
  return report_failed_unit(target.scope, target.unit, *state, verb);
}

int start(const Context& context) {
  const auto target = find_target(context);
  if (!target) return report(target.error());
  auto control = connect_manager(target->scope);
  if (!control) return report(control.error());
  const auto state = control->state(target->unit, soon());
  if (!state) return report(state.error());
  if (!state->loaded()) return report(no_unit(*target, *state));
  if (state->active_state == "active") {
    say_up(*target, *state, "already running:");
    return 0;
  }
  if (const int wrong = check_config(target->paths, false); wrong != 0) return wrong;
  clear_failure(*control, target->unit, *state);
  // One that waits out a crash loop hears that a person wants it now. Where none answers there is none.
  (void)control_call(target->paths, "POST", "/control/start", {{"by", asked_by("start")}}, Millis{1'000});
  const auto result = control->run_job(JobKind::start, target->unit, Deadline::in(start_patience));
  if (!result) return report(result.error());
  return judge_start(*control, *target, *result, "start", "started");
}

// ---- stop
// ---------------------------------------------------------------------------------------------------------------

Millis stop_limit(const UnitState& state) {
  const auto limit = std::chrono::microseconds(std::min<std::uint64_t>(state.timeout_stop_usec, 3'600'000'000));
  return std::chrono::duration_cast<Millis>(limit) + Millis{5'000};
}

int stop_unit(UnitControl& control, const Target& target, const UnitState& state) {
  const auto result = control.run_job(JobKind::stop, target.unit, Deadline::in(stop_limit(state)));
  if (!result) return report(result.error());
  const auto after = control.state(target.unit, soon());
  if (!after) return report(after.error());
  if (*result == JobResult::pending) {
    say("talaria: {} is still stopping{}{}\n", target.unit, after->status_text.empty() ? "" : ": ",
        printable(after->status_text));
    return still_at_it;
  }
  if (*result == JobResult::canceled)
    return report({ErrorKind::conflict, fmt::format("{}: another request took the place of this one", target.unit)});
  if (after->active_state == "failed") return report_failed_unit(target.scope, target.unit, *after, "stop cleanly");
  fmt::print("stopped {}\n", target.unit);
  return 0;
}

// Who answered is who ends, whatever the lock file says: it may still name the owner before.
Result<Incarnation> who_stops(const json::value& answer) {
  const auto* object = answer.if_object();
  const auto* who = object == nullptr ? nullptr : object->if_contains("incarnation");
  if (who == nullptr || !who->is_string()) return fail(ErrorKind::invalid, "the gateway's answer names no incarnation");
  return parse_incarnation(who->get_string());
}

int stop_by_hand(const Target& target) {
  const auto asked = control_call(target.paths, "POST", "/control/stop", {{"by", asked_by("stop")}}, Millis{5'000});
  if (!asked)
    return report({asked.error().kind, fmt::format("{} owns profile \"{}\" but can't be asked to stop: {}",
                                                   target.owner(), target.paths.profile, asked.error().what)});
  const auto who = who_stops(*asked);
  if (!who) return report(who.error());
  const auto process = ProcessHandle::open(*who);  // none: it has ended already
  if (process && !process->wait_ended(static_cast<int>(stop_patience.count()))) {
    say("talaria: PID {} is still stopping\n", who->pid);
    return still_at_it;
  }
  fmt::print("stopped PID {}\n", who->pid);
  const auto lock = ask_instance_lock(target.paths.state_directory);
  if (lock && lock->held && (!lock->record || lock->record->incarnation != *who))
    fmt::print("another gateway stood by and runs profile \"{}\" now; stop it too if you want none\n",
               target.paths.profile);
  return 0;
}

int stop(const Context& context) {
  const auto target = find_target(context);
  if (!target) return report(target.error());
  auto control = connect_manager(target->scope);
  if (!control && !target->runs_by_hand()) {
    if (systemd_is_there() || !target->lock_known) return report(control.error());
    fmt::print("not running: profile \"{}\"\n", target->paths.profile);
    return 0;
  }
  // The unit first: while somebody else owns the home it stands by, and would take over.
  bool had_unit = false;
  if (control) {
    const auto state = control->state(target->unit, soon());
    if (!state) return report(state.error());
    had_unit = state->loaded() && state->up();
    if (had_unit)
      if (const int code = stop_unit(*control, *target, *state); code != 0) return code;
  }
  if (target->runs_by_hand()) return stop_by_hand(*target);
  if (!had_unit) fmt::print("not running: {}\n", target->unit);
  return 0;
}

// ---- restart
// --------------------------------------------------------------------------------------------------------------

std::string since_of(const json::value& status) {
  const auto* object = status.if_object();
  const auto* since = object == nullptr ? nullptr : object->if_contains("since");
  return since != nullptr && since->is_string() ? std::string(since->get_string()) : "";
}

bool is_ready(const json::value& status) {
  const auto* object = status.if_object();
  const auto* ready = object == nullptr ? nullptr : object->if_contains("ready");
  return ready != nullptr && ready->is_bool() && ready->get_bool();
}

// It executes itself again and keeps its PID, or its manager starts another; its own account of when it began tells the
// new one from the old.
int restart_by_hand(const Target& target) {
  const auto before = control_call(target.paths, "GET", "/control/status", {}, Millis{5'000});
  if (!before) return report(before.error());
  const auto asked =
      control_call(target.paths, "POST", "/control/restart", {{"by", asked_by("restart")}}, Millis{5'000});
  if (!asked) return report(asked.error());
  const auto deadline = Deadline::in(stop_patience + start_patience);
  while (!deadline.expired()) {
    const auto now = control_call(target.paths, "GET", "/control/status", {}, Millis{2'000});
    if (now && is_ready(*now) && since_of(*now) != since_of(*before)) {
      fmt::print("restarted {}\n", target.owner());
      return 0;
    }
    if (target.lock.record && !target.has_other_manager() && !ProcessHandle::open(target.lock.record->incarnation))
      return report({ErrorKind::internal,
                     fmt::format("{} ended instead of restarting; its standard error says why", target.owner())});
    std::this_thread::sleep_for(Millis{50});
  }
  say("talaria: {} is still restarting\n", target.owner());
  return still_at_it;
}

int restart(const Context& context) {
  const auto target = find_target(context);
  if (!target) return report(target.error());
  // A healthy gateway is not touched for a configuration that it could not start with.
  if (const int wrong = check_config(target->paths, false); wrong != 0) return wrong;
  if (const int wrong = check_running(target->paths); wrong != 0) return wrong;
  if (target->runs_by_hand()) return restart_by_hand(*target);
  auto control = connect_manager(target->scope);
  if (!control) return report(control.error());
  const auto state = control->state(target->unit, soon());
  if (!state) return report(state.error());
  if (!state->loaded()) return report(no_unit(*target, *state));
  clear_failure(*control, target->unit, *state);
  const auto result =
      control->run_job(JobKind::restart, target->unit, Deadline::in(stop_limit(*state) + start_patience));
  if (!result) return report(result.error());
  return judge_start(*control, *target, *result, "restart", "restarted");
}

void add(CLI::App& parent, Context& context, const char* name, const char* description, const char* footer,
         int (*run)(const Context&)) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->footer(footer);
  command->callback([&context, run] { context.exit_code = run(context); });
}

}  // namespace

void add_gateway_start(CLI::App& parent, Context& context) {
  add(parent, context, "start", "Start the service",
      "Returns when the gateway is ready. Exit codes: 0 it runs, 1 it failed, 75 it is still starting, 77 no "
      "permission,\n"
      "78 the configuration is wrong.\n\nExample:\n  talaria gateway start",
      &start);
}

void add_gateway_stop(CLI::App& parent, Context& context) {
  add(parent, context, "stop", "Stop the gateway",
      "Returns when it has stopped. Exit codes: 0 it does not run (any more), 1 it failed, 75 it is still stopping,\n"
      "77 no permission.\n\nExample:\n  talaria gateway stop",
      &stop);
}

void add_gateway_restart(CLI::App& parent, Context& context) {
  add(parent, context, "restart", "Restart the gateway",
      "The configuration is checked first. Exit codes: 0 it runs again, 1 it failed, 75 it is still at it,\n"
      "77 no permission, 78 the configuration is wrong.\n\nExample:\n  talaria gateway restart",
      &restart);
}

}  // namespace talaria::cli
