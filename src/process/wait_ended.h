#pragma once
// Waiting for another process's end on the event loop.

#include "process/identity.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

// True: it has ended (zombie or not); false: the deadline came first, or the event loop can't watch it. Cancellable.
// The handle may go meanwhile.
Task<bool> wait_ended(const ProcessHandle& process, Deadline deadline);

}  // namespace talaria
