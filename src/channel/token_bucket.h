#pragma once
// Flood limit: a bucket of `burst` tokens that fills at `rate` tokens a second. Lines that wait their turn take a token
// when one is there; lines that may not wait (PONG) take theirs all the same and leave a debt, at most `burst` deep, so
// that the long-run rate holds.

#include <algorithm>

#include "base/time.h"

namespace talaria {

class TokenBucket {
 public:
  using Time = SteadyClock::time_point;

  // rate: tokens a second, at least 0.01; burst: at least 1.
  TokenBucket(double rate, int burst) : rate_(std::max(rate, 0.01)), burst_(std::max(burst, 1)), tokens_(burst_) {}

  // When the next token is there; `now` or earlier: at once.
  [[nodiscard]] Time ready_at(Time now) {
    fill(now);
    if (tokens_ >= 1) return now;
    // Rounded up: a wait that ends a nanosecond early would spin.
    return now +
           std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>((1 - tokens_) / rate_)) +
           Millis(1);
  }
  void take(Time now, double n = 1) {
    fill(now);
    tokens_ = std::max(tokens_ - n, -burst_);
  }

 private:
  void fill(Time now) {
    if (now > last_) {
      if (last_ != Time{})
        tokens_ = std::min(burst_, tokens_ + rate_ * std::chrono::duration<double>(now - last_).count());
      last_ = now;
    }
  }

  double rate_;
  double burst_;
  double tokens_;
  Time last_{};
};

}  // namespace talaria
