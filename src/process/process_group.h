#pragma once
// Is anybody left of a process group?

#include <sys/types.h>

#include "runtime/task.h"

namespace talaria {

// kill(2) with signal 0 counts zombies, which only their parent can remove: for a group that is being killed it is the
// quick answer, and the wrong one where the new parent of orphans (PID 1 of a careless container) reaps late or never.
[[nodiscard]] bool group_has_members(pid_t group);  // zombies count
[[nodiscard]] bool group_lives(pid_t group);        // zombies don't; reads all of /proc

// After SIGKILL the members are dead or dying, and their new parent reaps them: mostly within a millisecond. Orphans of
// the group are our children (process/reaper.h) and reaped here. Waits at most a second.
Task<> await_empty_group(pid_t group);

}  // namespace talaria
