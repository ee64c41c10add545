#pragma once
// What ended a run, as one short word that stays: for scripts, monitors and the crash-loop back-off. The verdict says
// whether the end was meant, the kind what it came by, the cause says it to people.

#include <cstdint>
#include <string_view>

namespace talaria {

enum class CauseKind : std::uint8_t {
  unknown,         // not told apart any further
  stop,            // somebody asked for it: the manager's stop job, `gateway stop`
  restart,         // the same with "and come back"
  replaced,        // another incarnation took over
  upgrade,         // the process went on as another binary
  reboot,          // the system was going down
  interrupt,       // Ctrl-C
  container_stop,  // a signal from outside our PID namespace
  kill,            // a termination signal that nobody had planned
  failure,         // the program gave up by itself
  config,          // the configuration or the command line was wrong
  permission,      // the home could not be used
  owned,           // another incarnation owned the profile
  not_started,     // the manager could not even execute the program
  sigkill,         // SIGKILL, seen by the manager
  oom_kill,        // the kernel's out-of-memory killer
  watchdog,        // no sign of progress for WatchdogSec=
  start_timeout,   // not ready within TimeoutStartSec=
  stop_timeout,    // told to stop, not gone within TimeoutStopSec=
  time_limit,      // RuntimeMaxSec=
  stuck_stop,      // told to stop, stuck, ended by our own guard
  fatal_signal,    // SIGSEGV, SIGABRT …
  power_cut,       // the machine went away below us
  vanished,        // ended without a word, and nobody saw how: SIGKILL is all that can do that
};

// "oom-kill"; unknown: "".
[[nodiscard]] std::string_view to_string(CauseKind kind);

}  // namespace talaria
