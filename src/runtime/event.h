#pragma once
// Event: coroutines wait until it is set. One event loop thread only. Waiting is cancellable and bounded by a deadline.
// A waiter may outlive the Event: what it looks at is shared.
//
//   Event changed(executor);
//   co_await changed.wait(Deadline::in(5s));   // true: set, false: the deadline ran out
//   changed.set();                             // wakes every waiter; stays set until reset()

#include <memory>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

class Event {
 public:
  explicit Event(asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

  void set() {
    state_->set = true;
    state_->wake();
  }
  void reset() { state_->set = false; }
  [[nodiscard]] bool is_set() const { return state_->set; }
  // Wakes whoever waits now, without staying set.
  void pulse() {
    ++state_->pulses;
    state_->wake();
  }

  // True when set or pulsed before the deadline.
  Task<bool> wait(Deadline deadline = Deadline::never()) { return wait_on(state_, deadline); }

 private:
  struct State {
    explicit State(asio::any_io_executor executor) : timer(std::move(executor), SteadyClock::time_point::max()) {}
    void wake();

    asio::steady_timer timer;                  // waiters without a deadline: cancelling it is the wake-up
    std::vector<asio::steady_timer*> bounded;  // waiters with one, each with its own timer
    std::uint64_t pulses = 0;
    bool set = false;
  };
  static Task<bool> wait_on(std::shared_ptr<State> state, Deadline deadline);

  std::shared_ptr<State> state_;
};

// Sleeps until the deadline; cancellable.
Task<> sleep_until(Deadline deadline);
inline Task<> sleep_for(SteadyClock::duration d) { return sleep_until(Deadline::in(d)); }

}  // namespace talaria
