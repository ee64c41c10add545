#pragma once
// Many deadlines, one timer, hardly any system calls.
//
// A server sets a deadline for every read and write and nearly always takes it back microseconds later. With a timer
// for each, that is a timerfd_settime(2) per operation. A Watchdog keeps one timer armed for the earliest deadline it
// has seen; arming a later one is a store, disarming is a store. When the timer fires, the watches that have really
// expired are told, and the timer is armed for the earliest that is left: at most one needless wake-up per deadline's
// length, not one per operation.
//
//   Watchdog dog(executor);
//   Watchdog::Watch watch(dog, [&] { socket.cancel(); });
//   watch.arm(deadline.at());  …the operation…  watch.disarm();
//   if (watch.expired()) …

#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"

namespace talaria {

// One event loop thread only. May go before its watches (they then never expire).
class Watchdog {
 public:
  class Watch;

  explicit Watchdog(boost::asio::any_io_executor executor);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// One deadline at a time; not armed at first. As long as one watch exists (armed or not), the timer may keep the loop
// busy.
class Watchdog::Watch {
 public:
  // `on_expiry` runs on the loop, from the timer; it may destroy any watch, this one too.
  Watch(Watchdog& dog, std::function<void()> on_expiry);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();

  void on_expiry(std::function<void()> f) { on_expiry_ = std::move(f); }
  void arm(SteadyClock::time_point at);  // replaces what was armed; forgets an expiry
  void disarm() { at_ = SteadyClock::time_point::max(); }
  [[nodiscard]] bool expired() const { return expired_; }  // since the last arm()

 private:
  friend class Watchdog;
  std::shared_ptr<State> state_;
  std::function<void()> on_expiry_;
  SteadyClock::time_point at_ = SteadyClock::time_point::max();
  std::size_t place_ = 0;  // in State::watches
  bool expired_ = false;
};

}  // namespace talaria
