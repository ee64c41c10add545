#pragma once
// What the service manager knows about us: asked, never guessed.
//
// Both private sockets of systemd (/run/systemd/private for root; $XDG_RUNTIME_DIR/systemd/private) speak D-Bus peer to
// peer without the bus daemon, so they answer where the bus is gone or hangs; they are asked first, the bus second. The
// other managers have ways of their own (ask_supervisor.h).

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

// container: we are PID 1 of our PID namespace, or the child of a minimal init that is (tini, docker-init, dumb-init
// …).
enum class ManagerKind { none, systemd_system, systemd_user, container, runit, s6, supervisord, launchd };
// "none", "system", "user" (both systemd's), "container", "runit", "s6", "supervisord", "launchd": the scope in lock
// record, ledger and status.
[[nodiscard]] std::string_view to_string(ManagerKind kind);
// Is a recorded scope one of systemd's two?
[[nodiscard]] bool is_systemd_scope(std::string_view scope);
// How an operator restarts and stops a service of a manager beside systemd: "`sv restart /etc/sv/talaria` starts it
// anew, `sv stop /etc/sv/talaria` ends it".
[[nodiscard]] std::string commands_for(std::string_view scope, std::string_view unit);

// Who supervises this process, found once at the start.
struct Supervision {
  ManagerKind manager = ManagerKind::none;
  int manager_pid = 0;  // whose signals are the manager's; 0: none, or outside our PID namespace
  // What the manager calls us: systemd: "talaria-gateway@default.service"; runit and s6: the service directory;
  // supervisord: "group:process". Empty: it has no name for us.
  std::string unit;
  std::string server = {};  // supervisord: SUPERVISOR_SERVER_URL, where it can be asked; empty: nowhere

  [[nodiscard]] bool supervised() const { return manager != ManagerKind::none; }
  [[nodiscard]] bool by_systemd() const {
    return manager == ManagerKind::systemd_system || manager == ManagerKind::systemd_user;
  }
  // Does it start us again after exit code 75? A container's runtime may or may not (its restart policy can't be asked
  // from inside), so there and outside of any manager a process that wants to begin anew executes itself.
  [[nodiscard]] bool starts_us_again() const {
    return manager != ManagerKind::none && manager != ManagerKind::container;
  }
};
// By systemd: NOTIFY_SOCKET is set and our parent is a systemd, or the manager names our PID as the main process of a
// unit (from the cgroup path). INVOCATION_ID alone proves nothing: it leaks into every child and desktop terminal. By
// another manager: it is our parent, or we are PID 1 (supervision.h).
[[nodiscard]] Supervision find_supervision();

// The manager's answer about a unit of its own.
struct UnitAnswer {
  std::string active_state;  // active, deactivating, …
  std::string sub_state;
  std::string result;  // success, oom-kill, watchdog, timeout, exit-code, …
  int main_pid = 0;
  std::string status_text;       // the service's own words (STATUS= of sd_notify(3))
  std::uint32_t restarts = 0;    // NRestarts: automatic ones since the last start that somebody asked for
  std::string job_type;          // "stop", "restart", "start", …; empty: no job
  bool system_stopping = false;  // the manager itself is shutting down (SystemState "stopping")
  std::string via;               // which socket answered, for the record
};
// Asks, on the event loop, bounded by the deadline (whatever the peer does: hang, half an answer, close).
Task<Result<UnitAnswer>> ask_unit(ManagerKind manager, std::string unit, Deadline deadline);

}  // namespace talaria
