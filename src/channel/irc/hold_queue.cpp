#include "channel/irc/hold_queue.h"

#include <algorithm>

namespace talaria::irc {

void HoldQueue::push(InboundEvent event) {
  events_.push_back(std::move(event));
  arrived_.pulse();
}

Task<> HoldQueue::wait_for_room() {
  while (full()) co_await room_.wait();
}

Task<> HoldQueue::forward(Inbox& inbox) {
  Millis delay = first_delay_;
  for (;;) {
    while (events_.empty()) co_await arrived_.wait();
    // A copy: until it is journalled the event stays here.
    const auto accepted = co_await inbox.accept(events_.front());
    if (accepted || accepted.error().kind == ErrorKind::invalid) {
      events_.pop_front();
      room_.pulse();
      delay = first_delay_;
      continue;
    }
    co_await sleep_for(delay);
    delay = std::min(delay * 2, longest_delay_);
  }
}

}  // namespace talaria::irc
