#include "runtime/event.h"

namespace talaria {

Task<bool> Event::wait(Deadline deadline) {
  const auto seen = pulses_;
  if (set_) co_return true;
  if (deadline.is_never()) {
    // One timer serves all who wait without a deadline: cancelling it is the wake-up.
    while (!set_ && pulses_ == seen) co_await timer_.async_wait(use_task);
    co_return true;
  }
  // A waiter with a deadline polls nothing: it waits on the shared timer through its own, which the deadline arms.
  asio::steady_timer mine(timer_.get_executor(), deadline.at());
  struct Waiter {
    Event* event;
    asio::steady_timer* timer;
    Waiter(Event* e, asio::steady_timer* t) : event(e), timer(t) { event->bounded_.push_back(timer); }
    ~Waiter() { std::erase(event->bounded_, timer); }
  } waiter(this, &mine);
  while (!set_ && pulses_ == seen) {
    auto [ec] = co_await mine.async_wait(use_task);
    if (!ec) break;
  }
  co_return set_ || pulses_ != seen;
}

Task<> sleep_until(Deadline deadline) {
  asio::steady_timer timer(co_await asio::this_coro::executor, deadline.at());
  co_await timer.async_wait(use_task);
}

}  // namespace talaria
