#pragma once
// The crash-loop back-off: after n ends in a row, within 10 minutes, that nobody asked for, the next start waits
// min(60 s, 0.25 s · 2ⁿ) ± 20 %. It is here and not in the unit because systemd before 254 has no growing delay, and
// its start limit counts operators' starts too and ends in a dead service.
//
// What counts is a program that fails: fatal signals, internal failures, the watchdog, the out-of-memory killer, and
// whatever ended a run before it was ready. A signal that somebody sent to a healthy gateway says nothing about it, so
// the start after a `kill -9` is not delayed.

#include <span>

#include "base/time.h"
#include "store/runs.h"

namespace talaria {

inline constexpr Millis crash_loop_window{10 * 60'000};
inline constexpr int crash_loop_runs = 100;  // of the newest ones, at most; 8 failures are the longest delay

// How one run counts.
enum class EndWeight {
  failure,  // the program failed
  outside,  // somebody ended a gateway that was ready: says nothing, and breaks no row
  planned,  // ends the row
};
[[nodiscard]] EndWeight weigh(const RunRow& run);

// Failures in a row. `newest_first` are runs that have ended.
[[nodiscard]] int failures_in_a_row(std::span<const RunRow> newest_first, UnixMillis now);

// How long the next start waits. `random` in [0, 1) chooses within ± 20 %. No failure: no wait.
[[nodiscard]] Millis crash_loop_delay(int failures, double random);

}  // namespace talaria
