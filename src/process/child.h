#pragma once
// Child processes: each in its own process group, stdin/stdout/stderr on pipes, started without fork()'s copies of our
// memory (posix_spawn), reaped through a pidfd. The whole group ends with its handle: TERM, then KILL.

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/result.h"
#include "process/child_handover.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

struct ChildSpec {
  std::vector<std::string> command;      // argv; command[0] is looked up in PATH when it has no slash
  std::vector<std::string> environment;  // "NAME=value", added to ours (ours less NOTIFY_SOCKET, WATCHDOG_*, LISTEN_*,
                                         // and secrets named in `hidden`)
  std::vector<std::string> hidden;
  std::string working_directory;  // empty: ours
};

struct ChildResult {
  int exit_code = -1;  // -1: ended by a signal
  int signal = 0;
  std::string out;         // standard output, cut at max_output
  std::string err_tail;    // last 4 KiB of standard error
  bool truncated = false;  // somebody still held stdout 200 ms after the end
};

// Runs to the end: writes `input` to stdin and closes it, collects stdout (each piece also goes to on_output, which
// must not throw), waits until the process has ended and its pipes are closed or 200 ms have gone by. At the deadline
// (ErrorKind::timeout), on cancellation and when the output exceeds `max_output` (ErrorKind::limit) the group gets TERM
// and after `grace` KILL. Whatever the outcome, no process of the group is left when this returns, and no zombie; that
// goes for cancellation too, which therefore takes up to `grace`.
//
// Errors of starting: invalid (no command, zero bytes, too long), not_found, permission (as execve(2) says),
// unavailable. A non-zero exit is no error. One that can't be killed (uninterruptible wait) is ErrorKind::internal
// after 5 s.
//
// With a valid ticket, a child of that number that arrived from the program before us (process/child_handover.h) is
// gone on with instead of starting one; what it wrote until then goes to on_output at once, and the earlier of the two
// deadlines holds. When the handover is asked for, a child that still runs is left there, and the coroutine ends as if
// it had been cancelled.
//
// The process must not reap children by wait(-1) nor ignore SIGCHLD: exit codes would be lost. What reaps the others,
// reap_unclaimed(), leaves this one alone. SIGPIPE need not be ignored.
Task<Result<ChildResult>> run_child(ChildSpec spec, std::string input, std::size_t max_output, Deadline deadline,
                                    Millis grace = Millis{2'000}, std::function<void(std::string_view)> on_output = {},
                                    ChildTicket ticket = {});

}  // namespace talaria
