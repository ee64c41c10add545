#pragma once
// Delivery takes replies from the outbox to their channels: one worker for each conversation that has open rows, so
// that the replies of one conversation leave in order (R6) and a slow one holds up nobody else. `sending` is on disk
// before the channel is called; what the channel answers decides the row's next state (R3). A worker ends when its
// conversation has no open row.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "channel/channel.h"
#include "gateway/gateway.h"
#include "runtime/task_group.h"
#include "store/outbox.h"
#include "store/store.h"

namespace talaria {

class Delivery {
 public:
  // `max_age`: a reply that could not be delivered for so long is dead.
  Delivery(asio::any_io_executor executor, const WallClock& clock, Store& store, Millis max_age,
           GatewayCounters& counters, TaskGroup::OnBug on_bug);

  // Replies to the channel of this name go to this one from now on; what is being sent by an earlier one goes on there.
  void set_channel(const std::shared_ptr<Channel>& channel);
  // Its replies stay in the outbox.
  void remove_channel(const std::string& name);
  [[nodiscard]] bool has_channel(const std::string& name) const { return channels_.contains(name); }
  // Until this channel delivers nothing any more, or the deadline.
  Task<> until_idle(const Channel& channel, Deadline deadline);
  // Open replies for channels that are not configured, by channel.
  [[nodiscard]] const std::map<std::string, std::int64_t>& stranded() const { return stranded_; }
  void set_max_age(Millis max_age) { max_age_ = max_age; }

  // Takes up every conversation with open rows.
  Task<Result<>> start();
  // Shows what an answer is so far: sends the row's message, or edits it. Waits for nothing: nullopt when the channel
  // is not up, can't edit, or has another reply of this conversation to deliver first (R6).
  Task<std::optional<std::expected<Receipt, DeliveryError>>> show(Reply reply);
  [[nodiscard]] bool can_show(const RouteRow& route) const;
  // Says that an answer is being written.
  void typing(const Route& route);
  [[nodiscard]] bool can_edit(const std::string& channel) const;

  // A row was queued for this conversation.
  void queued(const std::string& channel, const std::string& conversation);
  // A dead row was opened again or discarded by hand.
  void dead_changed(int by) { dead_ += by; }

  // Until that row is sent; `unavailable` when it is dead, `timeout` at the deadline or when stop() is over before: the
  // row is still on its way.
  Task<Result<>> wait_delivered(std::int64_t id, Deadline deadline);

  // Lets deliveries in progress end until the deadline, then cancels them; their rows stay and recovery takes them up.
  // False: one did not end even so.
  Task<bool> stop(Deadline deadline);
  // Nothing is waited for any longer, now or in stop().
  void hurry() {
    hurried_ = true;
    idle_.pulse();
  }

  [[nodiscard]] std::int64_t open() const { return open_; }
  [[nodiscard]] std::int64_t dead() const { return dead_; }

 private:
  struct Conversation {
    std::string channel, conversation;
    Event more;  // a row was queued while the worker was busy
  };
  // A channel is given one reply of a conversation at a time.
  class Place;
  Task<Result<>> take_up();
  void wake(const std::string& channel, const std::string& conversation);
  [[nodiscard]] std::shared_ptr<Channel> current(const std::string& name) const;
  Task<> work(std::shared_ptr<Conversation> conversation);
  Task<bool> deliver_next(Conversation& conversation, std::shared_ptr<Channel> channel);
  Task<std::expected<Receipt, DeliveryError>> call(std::shared_ptr<Channel> channel, Reply reply);
  Task<> settle(OutboxRow row, std::expected<Receipt, DeliveryError> outcome, Conversation& conversation,
                std::shared_ptr<Channel> channel);
  Task<> note_part(std::int64_t id);
  Task<> wait_to_retry(Millis delay, bool demanded, std::shared_ptr<Channel> channel);
  Task<bool> wait_until_up(std::shared_ptr<Channel> channel);
  void announce(std::int64_t id, Result<> fate);

  asio::any_io_executor executor_;
  const WallClock& clock_;
  Store& store_;
  Millis max_age_;
  GatewayCounters& counters_;
  std::unordered_map<std::string, std::shared_ptr<Channel>> channels_;
  std::map<std::string, std::int64_t> stranded_;
  std::unordered_map<std::string, std::shared_ptr<Conversation>> workers_;  // by encoded (channel, conversation)
  std::unordered_set<std::string> occupied_;  // the same keys: the channel is being called
  Event place_freed_;
  struct Waiter {
    Event done;
    Result<> fate;
  };
  std::unordered_map<std::int64_t, std::vector<std::shared_ptr<Waiter>>> waiters_;
  std::int64_t open_ = 0;
  std::int64_t dead_ = 0;
  bool started_ = false;
  bool stopping_ = false;
  bool hurried_ = false;
  bool stopped_ = false;
  int sending_ = 0;                                // rows that are `sending`
  Event idle_;                                     // set while sending_ is 0
  std::unordered_map<const Channel*, int> calls_;  // in progress, of each channel
  Event call_ended_;
  TaskGroup tasks_;
};

}  // namespace talaria
