#include "lifecycle/watchdog.h"

#include <fmt/format.h>

#include <algorithm>

namespace talaria {
namespace {

constexpr Millis longest_period{10'000};

double seconds(SteadyClock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

Millis watch_period(Millis watchdog_interval) {
  if (watchdog_interval.count() <= 0) return longest_period;
  return std::clamp(watchdog_interval / 4, Millis{1}, longest_period);
}

WatchFinding ProgressWatch::look(const WatchFacts& facts) {
  WatchFinding finding;
  const auto since = last_ ? facts.at - last_->at : SteadyClock::duration::zero();
  // Far too long since the last look: we did not run, so nobody else of this process did.
  if (since > 3 * period_) idle_looks_ = spinning_looks_ = waiting_looks_ = control_looks_ = 0;

  if (facts.store && last_ && last_->store) {
    look_at_store(*facts.store, since, finding);
  } else {
    idle_looks_ = spinning_looks_ = waiting_looks_ = 0;
  }
  const bool unanswered = facts.control == ControlFact::silent || facts.control == ControlFact::lost;
  control_looks_ = unanswered ? control_looks_ + 1 : 0;
  if (finding.stuck.empty() && control_looks_ >= patient_looks) {
    finding.stuck = facts.control == ControlFact::silent ? "the control socket does not answer"
                                                         : "the control socket's path no longer leads to this process";
  }
  last_ = facts;
  return finding;
}

void ProgressWatch::look_at_store(const StoreFacts& now, SteadyClock::duration since, WatchFinding& finding) {
  const StoreFacts& before = *last_->store;
  const bool still = now.steps == before.steps;
  const auto used = now.cpu - before.cpu;
  const bool spins = still && now.busy && used * 2 >= since;
  idle_looks_ = still && !now.busy && now.waiting > 0 && before.waiting > 0 ? idle_looks_ + 1 : 0;
  spinning_looks_ = spins ? spinning_looks_ + 1 : 0;
  waiting_looks_ = still && now.busy && !spins ? waiting_looks_ + 1 : 0;
  if (idle_looks_ >= patient_looks) {
    finding.stuck = fmt::format("the store's writer takes none of {} waiting jobs", now.waiting);
  } else if (spinning_looks_ >= patient_looks) {
    finding.stuck = fmt::format("the store's writer spins in one job ({} more wait)", now.waiting);
  } else if (waiting_looks_ >= patient_looks) {
    finding.slow = fmt::format("the store has waited for its disk for more than {:.0f} s ({} jobs wait)",
                               std::max(1.0, seconds(period_ * waiting_looks_)), now.waiting);
  }
}

bool LoopWatch::look(std::uint64_t asked, std::uint64_t answered) {
  if (answered >= asked) {
    looks_ = 0;
    return false;
  }
  ++looks_;
  // One less than for the others: the dump must be written before the manager's patience ends.
  return looks_ == patient_looks - 1;
}

}  // namespace talaria
