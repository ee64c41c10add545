#pragma once
// Descriptors that the service manager gives to a new process: sd_listen_fds(3), the receiving end of systemd's fd
// store. What was stored (Notifier::store) comes back after a crash, a SIGKILL and a restart, so that a listening
// socket stays open and those who connect meanwhile wait in its backlog instead of being refused. A stop empties the
// store.

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/fd.h"
#include "base/result.h"

namespace talaria {

struct InheritedFd {
  std::string name;  // as it was stored; "unknown" where the manager says none
  UniqueFd fd;
};

// The values of LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; empty where a variable is not set.
struct ListenVariables {
  std::string_view pid, count, names;
};
// The names of the descriptors from 3 on that are meant for process `self`. None when the variables are not set or
// meant for another process (they leak into children of careless services). invalid: malformed, or more than 1 000.
[[nodiscard]] Result<std::vector<std::string>> parse_listen_variables(const ListenVariables& variables, pid_t self);

// Takes them, close-on-exec from here on, and the variables out of the environment. Before anything else opens
// descriptors: a variable that promises more than there is must not make us take somebody else's.
[[nodiscard]] std::vector<InheritedFd> take_inherited_fds();

}  // namespace talaria
