#include "lifecycle/run_phases.h"

#include <algorithm>
#include <boost/json.hpp>

namespace talaria {

void RunPhases::enter(std::string_view name, SteadyClock::time_point now) {
  if (!name_.empty()) {
    const auto found = std::ranges::find(ended_, name_, &std::pair<std::string, SteadyClock::duration>::first);
    if (found != ended_.end()) {
      found->second += now - since_;
    } else {
      ended_.emplace_back(name_, now - since_);
    }
  }
  name_ = name;
  since_ = now;
}

std::string RunPhases::json(SteadyClock::time_point now) const {
  RunPhases whole = *this;
  whole.enter({}, now);
  boost::json::object object;
  for (const auto& [name, took] : whole.ended_) object[name] = std::chrono::duration_cast<Millis>(took).count();
  return boost::json::serialize(object);
}

}  // namespace talaria
