#pragma once
// Which service manager this machine has where it isn't systemd: what `gateway install` found when it can't install.
// Not who supervises a process (supervision.h), but who could.

#include <string>
#include <vector>

#include "service/manager.h"

namespace talaria {

struct HostFacts {
  std::string first_process;           // comm of PID 1
  std::vector<std::string> processes;  // comm of every process that can be seen
  bool container_mark = false;         // /.dockerenv, /run/.containerenv, or `container` in PID 1's environment
};
struct HostManager {
  ManagerKind kind = ManagerKind::none;
  std::string evidence;  // "runsvdir runs"
};
[[nodiscard]] HostManager decide_host_manager(const HostFacts& facts);
[[nodiscard]] HostManager find_host_manager();

// What to do instead of `gateway install`, one sentence.
[[nodiscard]] std::string advice(const HostManager& manager);

}  // namespace talaria
