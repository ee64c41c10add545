#pragma once
// The run ledger as a command reads it: straight from the store's file, beside a gateway or without one. Ends that no
// start has looked into yet are explained here as the next start will (lifecycle/run_ledger.h).

#include <vector>

#include "base/result.h"
#include "config/paths.h"
#include "store/runs.h"

namespace talaria::cli {

// Newest first, at most `limit`; empty when there is no ledger yet. Only a run that goes on has no verdict.
[[nodiscard]] Result<std::vector<RunRow>> read_ledger(const ProfilePaths& paths, int limit);

}  // namespace talaria::cli
