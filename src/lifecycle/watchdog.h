#pragma once
// Is there progress? Decided from what is observed, look by look, so that every rule can be tested without a clock.
//
// A timer alone proves that timers run. The service manager's watchdog (sd_watchdog_enabled(3)) is fed only while what
// a message passes through moves: the event loop, the store's writer, the control socket. And it goes hungry only when
// something is stuck: a process that was stopped, a machine that slept, a clock that was set and a slow disk are no
// reason. So time is counted in looks: whoever was not running did not look either. And a writer that waits inside the
// kernel for its disk uses no CPU, while one that spins does.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"

namespace talaria {

// How often to look: a quarter of what the manager allows between two signs of life, and at most 10 s. Zero: no manager
// waits for signs, 10 s.
[[nodiscard]] Millis watch_period(Millis watchdog_interval);

// What is stuck after so many looks without progress. Three periods are less than the manager waits.
inline constexpr int patient_looks = 3;

struct StoreFacts {
  std::uint64_t steps = 0;          // grows with everything the writer takes up or ends
  bool busy = false;                // inside a job or a commit
  std::size_t waiting = 0;          // jobs that nobody has taken
  std::chrono::nanoseconds cpu{0};  // that its thread has used
};

enum class ControlFact {
  unknown,   // not asked: it is not open yet, or as full as it may be
  answered,  // by us
  silent,    // nobody answered in time
  lost,      // the path leads nowhere, or to another process
};

struct WatchFacts {
  SteadyClock::time_point at;
  std::optional<StoreFacts> store;  // none: not open
  ControlFact control = ControlFact::unknown;
};

struct WatchFinding {
  std::string stuck;  // what makes no progress; empty: all do, the manager may be told
  std::string slow;   // what is worth a warning and no more; empty: nothing
};

// The event loop's own look at the others.
class ProgressWatch {
 public:
  explicit ProgressWatch(Millis period) : period_(period) {}
  WatchFinding look(const WatchFacts& facts);

 private:
  void look_at_store(const StoreFacts& now, SteadyClock::duration since, WatchFinding& finding);

  Millis period_;
  std::optional<WatchFacts> last_;
  int idle_looks_ = 0;      // jobs wait, nobody takes them
  int spinning_looks_ = 0;  // in one job, using the CPU
  int waiting_looks_ = 0;   // in one job, not using it
  int control_looks_ = 0;   // without an answer
};

// A look at the event loop from another thread: the loop is asked to count, and looked after until it has.
class LoopWatch {
 public:
  // `asked` and `answered`: questions so far. True: stuck, told once for each time that it gets stuck.
  bool look(std::uint64_t asked, std::uint64_t answered);
  [[nodiscard]] bool stuck() const { return looks_ >= patient_looks - 1; }

 private:
  int looks_ = 0;
};

}  // namespace talaria
