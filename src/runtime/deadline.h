#pragma once
// A point on the monotonic clock by which an operation must have ended. Every I/O call takes one; Deadline::never() is
// only for waits that cancellation ends.

#include <algorithm>

#include "base/time.h"

namespace talaria {

class Deadline {
 public:
  static Deadline never() { return Deadline(SteadyClock::time_point::max()); }
  static Deadline in(SteadyClock::duration d) { return Deadline(SteadyClock::now() + d); }
  explicit Deadline(SteadyClock::time_point at) : at_(at) {}

  [[nodiscard]] SteadyClock::time_point at() const { return at_; }
  [[nodiscard]] bool expired() const { return SteadyClock::now() >= at_; }
  [[nodiscard]] bool is_never() const { return at_ == SteadyClock::time_point::max(); }
  // Time left, never negative.
  [[nodiscard]] SteadyClock::duration left() const {
    if (is_never()) return SteadyClock::duration::max();
    return std::max(at_ - SteadyClock::now(), SteadyClock::duration::zero());
  }
  [[nodiscard]] Deadline earlier(Deadline other) const { return Deadline(std::min(at_, other.at_)); }

 private:
  SteadyClock::time_point at_;
};

}  // namespace talaria
