#pragma once
// The run ledger as a command reads it: straight from the store's file, beside a gateway or without one.

#include <vector>

#include "base/result.h"
#include "config/paths.h"
#include "store/runs.h"

namespace talaria::cli {

// Newest first; empty when there is no ledger yet.
[[nodiscard]] Result<std::vector<RunRow>> read_ledger(const ProfilePaths& paths, int limit);

}  // namespace talaria::cli
