#pragma once
// Starting one program as the leader of a new process group, with pipes on its standard streams.

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "process/child.h"
#include "process/reaper.h"

namespace talaria {

// A process that has just been started. Nobody else may wait for it: as long as it is not reaped its PID, and with it
// the number of its process group, can't be given to anybody else.
struct SpawnedProcess {
  pid_t pid = -1;    // also the group's number
  ChildClaim claim;  // to be released when it is reaped
  UniqueFd pidfd;
  UniqueFd in;  // our ends, non-blocking
  UniqueFd out;
  UniqueFd err;
};

// invalid: no command, or a text with a zero byte; not_found, permission: as exec says; unavailable: no descriptors or
// processes left. The child begins with an empty signal mask, default dispositions and no descriptors but the three.
[[nodiscard]] Result<SpawnedProcess> spawn_group(const ChildSpec& spec);

// Our environment as ChildSpec describes it, "NAME=value" each.
[[nodiscard]] std::vector<std::string> child_environment(const ChildSpec& spec);

}  // namespace talaria
