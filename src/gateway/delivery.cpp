#include "gateway/delivery.h"

#include "gateway/attachment_json.h"
#include "gateway/session_key.h"
#include "runtime/backoff.h"
#include "runtime/log.h"

namespace talaria {
namespace {

Result<> still_on_its_way(std::int64_t id) {
  return fail(ErrorKind::timeout, fmt::format("reply {} is still on its way; `talaria outbox list` shows it", id));
}

}  // namespace

class Delivery::Place {
 public:
  Place(Delivery& delivery, std::string key) : delivery_(delivery), key_(std::move(key)) {
    delivery_.occupied_.insert(key_);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    delivery_.occupied_.erase(key_);
    delivery_.place_freed_.pulse();
  }

 private:
  Delivery& delivery_;
  std::string key_;
};

Delivery::Delivery(asio::any_io_executor executor, const WallClock& clock, Store& store, Millis max_age,
                   GatewayCounters& counters, TaskGroup::OnBug on_bug)
    : executor_(executor),
      clock_(clock),
      store_(store),
      max_age_(max_age),
      counters_(counters),
      place_freed_(executor),
      idle_(executor),
      call_ended_(executor),
      tasks_(executor, std::move(on_bug)) {
  idle_.set();
}

void Delivery::set_channel(const std::shared_ptr<Channel>& channel) {
  const std::string name(channel->name());
  const auto old = std::exchange(channels_[name], channel);
  if (old) old->changed().pulse();  // whoever waits for it waits for the new one
  if (!started_) return;
  tasks_.spawn("outbox of a new channel", [](Delivery& self) -> Task<> {
    if (auto ok = co_await self.take_up(); !ok) log::error("outbox: {}", ok.error().what);
  }(*this));
}

void Delivery::remove_channel(const std::string& name) {
  const auto old = current(name);
  if (!old) return;
  channels_.erase(name);
  old->changed().pulse();
  if (!started_) return;
  tasks_.spawn("outbox of a channel taken out", [](Delivery& self) -> Task<> {
    if (auto ok = co_await self.take_up(); !ok) log::error("outbox: {}", ok.error().what);
  }(*this));
}

std::shared_ptr<Channel> Delivery::current(const std::string& name) const {
  const auto found = channels_.find(name);
  return found == channels_.end() ? nullptr : found->second;
}

Task<> Delivery::until_idle(const Channel& channel, Deadline deadline) {
  while (calls_.contains(&channel) && co_await call_ended_.wait(deadline)) {
  }
}

Task<Result<>> Delivery::start() {
  auto counts = co_await store_.read([](Database& db) { return count_outbox(db); });
  if (!counts) co_return std::unexpected(counts.error());
  open_ = counts->open;
  dead_ = counts->dead;
  started_ = true;
  co_return co_await take_up();
}

// Wakes a worker for every conversation with open rows, and finds those whose channel is not there.
Task<Result<>> Delivery::take_up() {
  auto conversations = co_await store_.read([](Database& db) { return open_conversations(db); });
  if (!conversations) co_return std::unexpected(conversations.error());
  std::map<std::string, std::int64_t> stranded;
  for (const OpenConversation& found : *conversations) {
    if (channels_.contains(found.channel)) {
      wake(found.channel, found.conversation);
    } else {
      stranded[found.channel] += found.replies;
    }
  }
  for (const auto& [channel, replies] : stranded) {
    if (!stranded_.contains(channel))
      log::warning("outbox: {} replies wait for channel \"{}\", which is not configured", replies, channel);
  }
  stranded_ = std::move(stranded);
  co_return Result<>{};
}

void Delivery::queued(const std::string& channel, const std::string& conversation) {
  ++open_;
  if (!channels_.contains(channel)) ++stranded_[channel];
  wake(channel, conversation);
}

void Delivery::wake(const std::string& channel, const std::string& conversation) {
  if (stopping_ || !channels_.contains(channel)) return;
  const std::string key = encode_key({channel, conversation});
  if (auto found = workers_.find(key); found != workers_.end()) {
    found->second->more.set();
    return;
  }
  auto worker = std::make_shared<Conversation>(channel, conversation, Event(executor_));
  workers_.emplace(key, worker);
  tasks_.spawn("delivery", work(worker));
}

Task<> Delivery::work(std::shared_ptr<Conversation> conversation) {
  struct Leave {
    Delivery* delivery;
    Conversation* conversation;
    ~Leave() { delivery->workers_.erase(encode_key({conversation->channel, conversation->conversation})); }
  } leave{this, conversation.get()};
  do {
    conversation->more.reset();
    while (!stopping_) {
      const auto channel = current(conversation->channel);
      if (!channel) co_return;
      // `sending` may only be written when we are about to send: a channel that is down keeps its rows `pending`.
      if (!co_await wait_until_up(channel)) continue;
      if (!co_await deliver_next(*conversation, channel)) break;
    }
  } while (!stopping_ && conversation->more.is_set());
}

// False: it is not the channel of its name any more.
Task<bool> Delivery::wait_until_up(std::shared_ptr<Channel> channel) {
  const std::string name(channel->name());
  while (!stopping_ && current(name) == channel) {
    if (channel->health().state == ChannelState::up) co_return true;
    co_await channel->changed().wait();
  }
  co_return false;
}

// False: the conversation has no open row.
Task<bool> Delivery::deliver_next(Conversation& conversation, std::shared_ptr<Channel> channel) {
  Backoff backoff(Millis{200}, Millis{10'000});
  auto row = co_await store_.write(
      [c = conversation.channel, v = conversation.conversation](Database& db) { return take_next_reply(db, c, v); });
  while (!row) {
    log::error("outbox: {}", row.error().what);
    co_await sleep_for(backoff.next());
    row = co_await store_.write(
        [c = conversation.channel, v = conversation.conversation](Database& db) { return take_next_reply(db, c, v); });
  }
  if (!*row) co_return false;
  const std::int64_t id = (*row)->id;
  Reply reply{
      .outbox_id = (*row)->id,
      .route = {(*row)->route.channel, (*row)->route.conversation, (*row)->route.thread, (*row)->route.reply_to},
      .text = (*row)->body,
      .may_be_repeat = (*row)->repeats > 0 && !channel->recognises_repeats(),
      .attachments = parse_attachments((*row)->attachments),
      .edits = (*row)->platform_id,
      .parts_sent = (*row)->parts,
      .part_sent = [this, id] { return note_part(id); }};
  const std::string key = encode_key({conversation.channel, conversation.conversation});
  while (occupied_.contains(key)) co_await place_freed_.wait();  // a piece of another answer is being shown
  const Place place(*this, key);
  struct Sending {
    Delivery* delivery;
    explicit Sending(Delivery* d) : delivery(d) {
      ++delivery->sending_;
      delivery->idle_.reset();
    }
    ~Sending() {
      if (--delivery->sending_ == 0) delivery->idle_.set();
    }
  } sending(this);
  auto outcome = co_await call(channel, std::move(reply));
  co_await settle(std::move(**row), std::move(outcome), conversation, channel);
  co_return true;
}

// The channel may be replaced meanwhile; it lives until its call has ended.
Task<std::expected<Receipt, DeliveryError>> Delivery::call(std::shared_ptr<Channel> channel, Reply reply) {
  struct Calling {
    Delivery& delivery;
    const Channel* channel;
    Calling(Delivery& d, const Channel* c) : delivery(d), channel(c) { ++delivery.calls_[channel]; }
    ~Calling() {
      if (--delivery.calls_[channel] == 0) delivery.calls_.erase(channel);
      delivery.call_ended_.pulse();
    }
  } calling(*this, channel.get());
  co_return co_await channel->deliver(std::move(reply));
}

// The platform has one more part of a long reply; the next must not leave before that is on disk.
Task<> Delivery::note_part(std::int64_t id) {
  Backoff backoff(Millis{200}, Millis{10'000});
  for (;;) {
    auto stored = co_await store_.write([id](Database& db) { return reply_part_sent(db, id); });
    if (stored) co_return;
    log::error("outbox: {}", stored.error().what);
    co_await sleep_for(backoff.next());
  }
}

Task<> Delivery::settle(OutboxRow row, std::expected<Receipt, DeliveryError> outcome, Conversation& conversation,
                        std::shared_ptr<Channel> channel) {
  using Fate = DeliveryError::Fate;
  const std::int64_t id = row.id;
  const UnixMillis now = clock_.now();
  std::string why = outcome ? "" : outcome.error().what;
  bool dead = !outcome && outcome.error().fate == Fate::dead;
  if (!outcome && !dead && now - row.created_at > max_age_.count()) {
    dead = true;
    why = fmt::format("given up after {}: {}", format_duration(max_age_), why);
  }
  if (!outcome && outcome.error().fate == Fate::unknown && row.repeats > 0 && !dead && !channel->recognises_repeats()) {
    dead = true;  // replayed once already (R3): a third copy would be noise
    why = fmt::format("sent twice without a receipt: {}", why);
  }
  // The row's new state must reach the disk before the next reply of this conversation is taken.
  Backoff backoff(Millis{200}, Millis{10'000});
  for (;;) {
    auto stored = co_await store_.write([&](Database& db) -> Result<> {
      if (outcome) return reply_sent(db, id, outcome->platform_id, now);
      if (dead) return reply_dead(db, id, why, now);
      if (outcome.error().fate == Fate::unknown) return reply_unknown(db, id, why);
      return reply_retry(db, id, why);
    });
    if (stored) break;
    log::error("outbox: {}", stored.error().what);
    co_await sleep_for(backoff.next());
  }
  if (outcome || dead) {
    --open_;
    if (dead) ++dead_;
    if (outcome) ++counters_.replies_sent;
    announce(id, outcome ? Result<>{} : fail(ErrorKind::unavailable, why));
  }
  if (outcome) co_return;
  ++counters_.delivery_errors;
  log::warning("outbox: reply {} to {}:{} {}: {}", id, conversation.channel, conversation.conversation,
               dead ? "is dead" : "will be tried again", why);
  if (dead) co_return;
  const Millis ours{
      static_cast<std::int64_t>(std::min(60'000.0, 500.0 * static_cast<double>(1 << std::min(row.attempts, 8))))};
  const Millis theirs = outcome.error().retry_after;
  co_await wait_to_retry(std::max(ours, theirs), theirs.count() > 0, std::move(channel));
}

// The circuit of one conversation: open for a growing while after a failure, then one try. It closes early when the
// channel's state changes (a connection is back), unless the platform itself asked for the wait.
Task<> Delivery::wait_to_retry(Millis delay, bool demanded, std::shared_ptr<Channel> channel) {
  const Deadline until = Deadline::in(delay);
  if (demanded) co_return co_await sleep_until(until);
  const ChannelState before = channel->health().state;
  while (!stopping_ && channel->health().state == before && co_await channel->changed().wait(until)) {
  }
}

bool Delivery::can_edit(const std::string& channel) const {
  const auto found = current(channel);
  return found && found->can_edit();
}

void Delivery::typing(const Route& route) {
  const auto channel = current(route.channel);
  if (channel && channel->health().state == ChannelState::up) channel->typing(route);
}

bool Delivery::can_show(const RouteRow& route) const {
  const auto channel = current(route.channel);
  const std::string key = encode_key({route.channel, route.conversation});
  return !stopping_ && channel && channel->can_edit() && channel->health().state == ChannelState::up &&
         !workers_.contains(key) && !occupied_.contains(key);
}

Task<std::optional<std::expected<Receipt, DeliveryError>>> Delivery::show(Reply reply) {
  if (!can_show({reply.route.channel, reply.route.conversation, {}, {}})) co_return std::nullopt;
  const Place place(*this, encode_key({reply.route.channel, reply.route.conversation}));
  const auto channel = current(reply.route.channel);
  co_return co_await call(channel, std::move(reply));
}

void Delivery::announce(std::int64_t id, Result<> fate) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  for (auto& waiter : found->second) {
    waiter->fate = fate;
    waiter->done.set();
  }
  waiters_.erase(found);
}

Task<Result<>> Delivery::wait_delivered(std::int64_t id, Deadline deadline) {
  if (stopped_) co_return still_on_its_way(id);
  auto waiter = std::make_shared<Waiter>(Event(executor_), Result<>{});
  waiters_[id].push_back(waiter);
  struct Leave {
    Delivery* delivery;
    std::int64_t id;
    std::shared_ptr<Waiter> waiter;
    ~Leave() {
      const auto found = delivery->waiters_.find(id);
      if (found == delivery->waiters_.end()) return;
      std::erase(found->second, waiter);
      if (found->second.empty()) delivery->waiters_.erase(found);
    }
  } leave{this, id, waiter};
  if (!co_await waiter->done.wait(deadline)) co_return still_on_its_way(id);
  co_return waiter->fate;
}

Task<bool> Delivery::stop(Deadline deadline) {
  stopping_ = true;
  if (!hurried_) co_await idle_.wait(deadline);
  const bool ended = co_await tasks_.stop(Deadline::in(std::chrono::seconds(1)));
  stopped_ = true;
  while (!waiters_.empty()) announce(waiters_.begin()->first, still_on_its_way(waiters_.begin()->first));
  co_return ended;
}

}  // namespace talaria
