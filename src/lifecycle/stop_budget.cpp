#include "lifecycle/stop_budget.h"

#include <algorithm>

namespace talaria {

namespace {

using namespace std::chrono_literals;

constexpr Millis usual_closing{15'000};
constexpr Millis after_cut{2'000};
// How long a turn may be silent and still count as alive, at most.
constexpr Millis longest_patience{20'000};

}  // namespace

void StopBudget::count() {
  closing_ = usual_closing;
  spare_ = 2s;
  if (!limits_.manager) {
    allowed_.reset();
    return;
  }
  closing_ = std::min(usual_closing, *limits_.manager / 4);
  spare_ = std::clamp(*limits_.manager / 6, Millis{200}, Millis{5'000});
  const Time by_unit = begun_ + *limits_.manager;
  allowed_ = allowed_ ? std::max(*allowed_, by_unit) : by_unit;
}

void StopBudget::set_manager(std::optional<Millis> manager) {
  // The first word counts from the beginning; an extension was granted by the same manager.
  const bool extended = allowed_ && limits_.manager && *allowed_ > begun_ + *limits_.manager;
  if (!extended) allowed_.reset();
  limits_.manager = manager;
  count();
}

StopBudget::Time StopBudget::drain() const {
  const Time wanted = begun_ + limits_.drain_timeout;
  Time until = drained_ ? *drained_ : wanted;
  if (allowed_) until = std::min(until, *allowed_ - spare_ - closing_);
  return until;
}

std::optional<Millis> StopBudget::progress(Time now) {
  if (!limits_.extendable || !allowed_ || drained_ || cut_) return {};
  const Time wanted = begun_ + limits_.drain_timeout + closing_ + spare_;
  const Millis patience = std::clamp(*limits_.manager - closing_ - spare_, Millis{500}, longest_patience);
  const Time needed = std::min(now + patience + closing_ + spare_, wanted);
  if (needed <= *allowed_) return {};
  allowed_ = needed;
  return std::chrono::ceil<Millis>(needed - now);
}

void StopBudget::cut_short(Time now) {
  if (!cut_) cut_ = now;
}

StopBudget::Time StopBudget::end() const {
  Time end = drain() + closing_;
  if (cut_) end = std::min(end, *cut_ + std::min(after_cut, closing_));
  return end;
}

Deadline StopBudget::step(Millis usual, Time now) const {
  return Deadline(std::min(now + usual * closing_.count() / usual_closing.count(), end()));
}

}  // namespace talaria
