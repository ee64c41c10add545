#pragma once
// Messages on their way to the journal. IRC can't be asked to send a message again, so one that the gateway can't take
// now (disk full, store busy) is held here and offered again with growing delays. When the queue is full, nothing more
// is read from the server: TCP pushes back. What is held is lost only if the process dies; IRC has no acknowledgement
// that could prevent it.

#include <deque>
#include <vector>

#include "channel/channel.h"
#include "runtime/event.h"

namespace talaria::irc {

class HoldQueue {
 public:
  explicit HoldQueue(asio::any_io_executor executor, std::size_t capacity = 1000, Millis first_delay = Millis(100),
                     Millis longest_delay = Millis(30'000))
      : capacity_(capacity),
        first_delay_(first_delay),
        longest_delay_(longest_delay),
        arrived_(executor),
        room_(executor) {}

  // There must be room.
  void push(InboundEvent event);
  [[nodiscard]] bool full() const { return events_.size() >= capacity_; }
  [[nodiscard]] std::size_t size() const { return events_.size(); }
  Task<> wait_for_room();
  // Empties the queue. The one that is being offered is among it: whoever takes it may see it twice.
  [[nodiscard]] std::vector<InboundEvent> take_all();

  // Offers the messages to `inbox`, in order, until cancelled. One that the gateway calls `invalid` is given up, since
  // it would be so for ever; any other error means "not now".
  Task<> forward(Inbox& inbox);

 private:
  std::size_t capacity_;
  Millis first_delay_;
  Millis longest_delay_;
  std::deque<InboundEvent> events_;
  std::uint64_t taken_ = 0;  // how often all were taken
  Event arrived_;
  Event room_;
};

}  // namespace talaria::irc
