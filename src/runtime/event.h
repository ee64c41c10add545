#pragma once
// Event: coroutines wait until it is set. One event loop thread only. Waiting is cancellable and bounded by a deadline.
//
//   Event changed(executor);
//   co_await changed.wait(Deadline::in(5s));   // true: set, false: the deadline ran out
//   changed.set();                             // wakes every waiter; stays set until reset()

#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

class Event {
 public:
  explicit Event(asio::any_io_executor executor) : timer_(std::move(executor), SteadyClock::time_point::max()) {}

  void set() {
    set_ = true;
    wake();
  }
  void reset() { set_ = false; }
  [[nodiscard]] bool is_set() const { return set_; }
  // Wakes whoever waits now, without staying set.
  void pulse() {
    ++pulses_;
    wake();
  }

  // True when set or pulsed before the deadline.
  Task<bool> wait(Deadline deadline = Deadline::never());

 private:
  void wake() {
    timer_.cancel();
    for (auto* timer : bounded_) timer->cancel();
  }

  asio::steady_timer timer_;                  // waiters without a deadline
  std::vector<asio::steady_timer*> bounded_;  // waiters with one, each with its own timer
  std::uint64_t pulses_ = 0;
  bool set_ = false;
};

// Sleeps until the deadline; cancellable.
Task<> sleep_until(Deadline deadline);
inline Task<> sleep_for(SteadyClock::duration d) { return sleep_until(Deadline::in(d)); }

}  // namespace talaria
