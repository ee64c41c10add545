#include "channel/irc/hold_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace talaria::irc {

void HoldQueue::push(InboundEvent event) {
  events_.push_back(std::move(event));
  arrived_.pulse();
}

Task<> HoldQueue::wait_for_room() {
  while (full()) co_await room_.wait();
}

std::vector<InboundEvent> HoldQueue::take_all() {
  ++taken_;
  std::vector<InboundEvent> all{std::make_move_iterator(events_.begin()), std::make_move_iterator(events_.end())};
  events_.clear();
  return all;
}

Task<> HoldQueue::forward(Inbox& inbox) {
  Millis delay = first_delay_;
  for (;;) {
    while (events_.empty()) co_await arrived_.wait();
    // A copy: until it is journalled the event stays here.
    const auto taken = taken_;
    const auto accepted = co_await inbox.accept(events_.front());
    if (taken != taken_) continue;
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
