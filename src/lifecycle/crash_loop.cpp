#include "lifecycle/crash_loop.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "lifecycle/cause_kind.h"

namespace talaria {
namespace {

constexpr double first_delay_ms = 250;
constexpr double longest_delay_ms = 60'000;

bool is(const RunRow& run, CauseKind kind) { return run.kind == to_string(kind); }

}  // namespace

EndWeight weigh(const RunRow& run) {
  if (run.verdict != "unplanned" && run.verdict != "crash") return EndWeight::planned;
  if (is(run, CauseKind::power_cut)) return EndWeight::outside;
  const bool killed = is(run, CauseKind::kill) || is(run, CauseKind::sigkill) || is(run, CauseKind::vanished);
  return killed && run.ready_at ? EndWeight::outside : EndWeight::failure;
}

int failures_in_a_row(std::span<const RunRow> newest_first, UnixMillis now) {
  int failures = 0;
  for (const RunRow& run : newest_first) {
    // A clock that was set back makes the past look like the future; far is far in both directions.
    if (!run.ended_at || std::abs(now - *run.ended_at) > crash_loop_window.count()) break;
    const EndWeight weight = weigh(run);
    if (weight == EndWeight::planned) break;
    if (weight == EndWeight::failure) ++failures;
  }
  return failures;
}

Millis crash_loop_delay(int failures, double random) {
  if (failures <= 0) return Millis{0};
  const double base = std::min(longest_delay_ms, first_delay_ms * std::exp2(std::min(failures, 30)));
  return Millis(static_cast<std::int64_t>(base * (0.8 + 0.4 * random)));
}

}  // namespace talaria
