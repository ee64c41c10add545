#pragma once
// The runs of a profile as a timeline for people.

#include <string>
#include <vector>

#include "base/time.h"
#include "store/runs.h"

namespace talaria::cli {

// `runs`: newest first. `lives`: the newest one goes on. With `paint`, verdicts are coloured (ANSI).
[[nodiscard]] std::string history_text(const std::vector<RunRow>& runs, bool lives, UnixMillis now, bool paint);

// "1.2 s", "5 min", "3 h 20 min", "12 d 4 h".
[[nodiscard]] std::string rough_duration(std::int64_t milliseconds);

}  // namespace talaria::cli
