#pragma once
// What the service manager knows about us: asked, never guessed.
//
// Both private sockets of systemd (/run/systemd/private for root; $XDG_RUNTIME_DIR/systemd/private) speak D-Bus peer to
// peer without the bus daemon, so they answer where the bus is gone or hangs; they are asked first, the bus second.

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

enum class ManagerKind { none, systemd_system, systemd_user };
[[nodiscard]] std::string_view to_string(ManagerKind kind);  // "none", "system", "user"

// Who supervises this process, found once at the start.
struct Supervision {
  ManagerKind manager = ManagerKind::none;
  int manager_pid = 0;  // whose signals are the manager's; 0: none
  std::string unit;     // "talaria-gateway@default.service"; empty: none
  [[nodiscard]] bool supervised() const { return manager != ManagerKind::none; }
};
// Supervised: NOTIFY_SOCKET is set and our parent is a systemd, or the manager names our PID as the main process of a
// unit (from the cgroup path). INVOCATION_ID alone proves nothing: it leaks into every child and desktop terminal.
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
