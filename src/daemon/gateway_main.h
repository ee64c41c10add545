#pragma once
// One run of the gateway, from its first line to its exit code.

#include <optional>
#include <string>

#include "config/paths.h"
#include "daemon/departure.h"

namespace talaria {

struct GatewayOptions {
  ProfilePaths paths;
  Scope scope = Scope::user;
  bool wait = false;     // home taken: wait for it, as a supervised start does
  bool replace = false;  // home taken: take it, unless a service manager runs us or the owner
  bool verbose = false;  // log at debug level
};

struct GatewayExit {
  int code = 0;
  std::optional<Departure> departure{};  // the caller is to execute that program, which goes on in this process
  bool left_tasks = false;               // some did not end in time: what they use was not destroyed
};

// Runs until it is told to end. Nothing of the process survives but what the caller made before.
[[nodiscard]] GatewayExit gateway_main(GatewayOptions options);

}  // namespace talaria
