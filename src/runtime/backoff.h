#pragma once
// Growing, jittered delays: first, 2·first, 4·first … up to `most`, each ± 20 %, so that many who failed together do
// not come back together.

#include <algorithm>

#include "base/random.h"
#include "base/time.h"

namespace talaria {

class Backoff {
 public:
  Backoff(Millis first, Millis most) : first_(first), most_(most), next_(first) {}
  [[nodiscard]] Millis next() {
    const Millis base = next_;
    next_ = std::min(most_, next_ * 2);
    return Millis(static_cast<std::int64_t>(static_cast<double>(base.count()) * (0.8 + 0.4 * random_unit())));
  }
  void reset() { next_ = first_; }

 private:
  Millis first_, most_, next_;
};

}  // namespace talaria
