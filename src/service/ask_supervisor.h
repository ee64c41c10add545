#pragma once
// Asking runit, s6 and supervisord what they want of us, when a signal came from them.

#include "runtime/deadline.h"
#include "runtime/task.h"
#include "service/manager.h"
#include "service/supervisor_answer.h"

namespace talaria {

// Bounded by the deadline. `pid` is ours. permission: runit's and s6's `supervise` directory is closed to this user
// (the definitions of `gateway install --print` open it), or supervisord's socket is. not_found: supervisord has no RPC
// server. invalid: an answer that can't be read, or about another process.
Task<Result<SupervisorAnswer>> ask_supervisor(Supervision supervision, int pid, Deadline deadline);

// runit's and s6's wish as it is now, from the file; for the moment before we end. Doesn't wait.
[[nodiscard]] Result<SupervisorAnswer> read_wish(const Supervision& supervision, int pid);

}  // namespace talaria
