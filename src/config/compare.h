#pragma once
// What differs between two configurations, for a reload: which agents and channels stay as they are, and the names of
// the keys for people. It reads the same table as loading does, so a new key can't be forgotten here.

#include <string>
#include <vector>

#include "config/config.h"

namespace talaria {

struct ConfigChanges {
  // Names of agents or channels. `changed`: must be made anew; a channel whose `agent` alone is another one is not.
  struct Named {
    std::vector<std::string> added, changed, gone;
  };
  Named agents, channels;
  std::vector<std::string> keys;  // "gateway.drain_timeout", "agent.shell.timeout"; "agent.shell" when all of it
  std::vector<std::string> need_restart;  // those of `keys` that a running gateway can't change
  [[nodiscard]] bool empty() const { return keys.empty(); }
};
[[nodiscard]] ConfigChanges compare_configs(const Config& before, const Config& after);

}  // namespace talaria
