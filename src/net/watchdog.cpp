#include "net/watchdog.h"

#include <boost/asio/steady_timer.hpp>

namespace talaria {

struct Watchdog::State : std::enable_shared_from_this<Watchdog::State> {
  explicit State(boost::asio::any_io_executor executor) : timer(std::move(executor)) {}

  void wake_by(SteadyClock::time_point at) {
    if (stopped || at >= wakes_at) return;
    wakes_at = at;
    timer.expires_at(at);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
      if (ec) return;
      if (const auto self = weak.lock()) self->fire();
    });
  }

  void fire() {
    wakes_at = SteadyClock::time_point::max();
    const auto now = SteadyClock::now();
    // A callback may destroy any watch and so reorder the list: begin anew after each. What has expired is disarmed, so
    // this ends.
    for (std::size_t i = 0; i < watches.size(); ++i) {
      Watch& watch = *watches[i];
      if (watch.at_ > now) continue;
      watch.disarm();
      watch.expired_ = true;
      const auto on_expiry = watch.on_expiry_;
      on_expiry();
      i = static_cast<std::size_t>(-1);
    }
    auto next = SteadyClock::time_point::max();
    for (const Watch* watch : watches) next = std::min(next, watch->at_);
    if (next != SteadyClock::time_point::max()) wake_by(next);
  }

  boost::asio::steady_timer timer;
  SteadyClock::time_point wakes_at = SteadyClock::time_point::max();
  std::vector<Watch*> watches;
  bool stopped = false;
};

Watchdog::Watchdog(boost::asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

Watchdog::~Watchdog() {
  state_->stopped = true;
  state_->timer.cancel();
}

Watchdog::Watch::Watch(Watchdog& dog, std::function<void()> on_expiry)
    : state_(dog.state_), on_expiry_(std::move(on_expiry)) {
  place_ = state_->watches.size();
  state_->watches.push_back(this);
}

Watchdog::Watch::~Watch() {
  state_->watches[place_] = state_->watches.back();
  state_->watches[place_]->place_ = place_;
  state_->watches.pop_back();
  if (state_->watches.empty()) {
    // Nobody is left to wake: a pending timer would only keep the loop from ending.
    state_->timer.cancel();
    state_->wakes_at = SteadyClock::time_point::max();
  }
}

void Watchdog::Watch::arm(SteadyClock::time_point at) {
  at_ = at;
  expired_ = false;
  state_->wake_by(at);
}

}  // namespace talaria
