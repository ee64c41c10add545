#pragma once
// Fatal signals (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS) and std::terminate: one crash record
// (lifecycle/crash_record.h) goes to <state>/crash.log and to standard error, then the signal is raised again with its
// default action, so that the manager sees the real one. So does systemd's watchdog, which ends us with SIGABRT
// (systemd.service(5), WatchdogSec=): what every thread was doing is in the record.
//
// A process that dies may have a broken heap and held locks. What runs in the handler is async-signal-safe
// (signal-safety(7)): everything it needs was prepared before, its stack is one of its own, and when it gets stuck
// itself, an alarm ends it.

#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "process/identity.h"

namespace talaria {

// Once, first thing in a daemon's life, in its main thread. Until keep_crash_records() records go to standard error
// alone.
void handle_crashes();
// Who crashes, and where the record is kept: <state>/crash.log (mode 0600), opened now, cut when it has grown too long.
[[nodiscard]] Result<> keep_crash_records(const std::string& state_directory, const Incarnation& self,
                                          std::string_view invocation_id);

// What is known before the worst comes ("the event loop stands still"); stands in the record. Empty: nothing.
void note_crash_reason(std::string_view reason);

// A record without a signal, of a process that is stuck: "stuck", or "stuck-stop" when it is about to end itself. At
// most 20 in one life. May be called from any thread.
void write_stuck_record(std::string_view type, std::string_view reason);

}  // namespace talaria
