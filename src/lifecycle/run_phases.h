#pragma once
// How long each phase of a run took, for the ledger: one after another, on the monotonic clock.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"

namespace talaria {

class RunPhases {
 public:
  // Ends the phase before. A name that comes again goes on counting.
  void enter(std::string_view name, SteadyClock::time_point now = SteadyClock::now());
  // {"starting":12,"running":3600000,"drain":4}: milliseconds, in order; the last phase until now.
  [[nodiscard]] std::string json(SteadyClock::time_point now = SteadyClock::now()) const;

 private:
  std::vector<std::pair<std::string, SteadyClock::duration>> ended_;
  std::string name_;
  SteadyClock::time_point since_;
};

}  // namespace talaria
