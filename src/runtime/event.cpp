#include "runtime/event.h"

namespace talaria {

void Event::State::wake() {
  timer.cancel();
  for (auto* waiting : bounded) waiting->cancel();
}

Task<bool> Event::wait_on(std::shared_ptr<State> state, Deadline deadline) {
  const auto seen = state->pulses;
  const auto woken = [&] { return state->set || state->pulses != seen; };
  if (state->set) co_return true;
  if (deadline.is_never()) {
    while (!woken()) co_await state->timer.async_wait(use_task);
    co_return true;
  }
  asio::steady_timer mine(state->timer.get_executor(), deadline.at());
  struct Waiter {
    State& state;
    asio::steady_timer* timer;
    Waiter(State& s, asio::steady_timer* t) : state(s), timer(t) { state.bounded.push_back(timer); }
    ~Waiter() { std::erase(state.bounded, timer); }
  } waiter(*state, &mine);
  while (!woken()) {
    auto [ec] = co_await mine.async_wait(use_task);
    if (!ec) break;
  }
  co_return woken();
}

Task<> sleep_until(Deadline deadline) {
  asio::steady_timer timer(co_await asio::this_coro::executor, deadline.at());
  co_await timer.async_wait(use_task);
}

}  // namespace talaria
