#pragma once
// One run of the ledger in the keys of `last_end` and of `gateway history --json` (interface.md).

#include <boost/json.hpp>

#include "store/runs.h"

namespace talaria {

[[nodiscard]] boost::json::object to_json(const RunRow& run);

}  // namespace talaria
