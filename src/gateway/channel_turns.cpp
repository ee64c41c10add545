// The gateway's turns that chats ask for: journal, queue, agent, outbox.
#include "gateway/direct_request.h"
#include "gateway/gateway_impl.h"
#include "gateway/live_answer.h"
#include "gateway/session_key.h"
#include "runtime/backoff.h"
#include "runtime/log.h"
#include "store/notices.h"

namespace talaria {
namespace {

// What the agent reads: files are named by their paths.
std::string text_of(const InboundEvent& event) {
  std::string text = event.text;
  for (const Attachment& file : event.attachments) {
    text += fmt::format("{}[attached file \"{}\"{}{}, {} bytes: {}]", text.empty() ? "" : "\n", file.name,
                        file.type.empty() ? "" : ", ", file.type, file.size, file.path);
  }
  return text;
}

EventRow row_of(const InboundEvent& event) {
  return {.route = row_of(event.route),
          .message_id = event.message_id,
          .sender_id = event.sender.id,
          .sender_name = event.sender.name,
          .body = text_of(event),
          .received_at = event.received_at,
          .answer_to = event.answer_to ? std::optional(row_of(*event.answer_to)) : std::nullopt,
          .relay = event.relay};
}

void warn_too_old(const InboundEvent& event) {
  log::warning("{}: message {} in {} is older than gateway.max_backlog_age and was skipped", event.route.channel,
               event.message_id, event.route.conversation);
}

}  // namespace

Task<Result<bool>> Gateway::knows(Route route, std::string message_id) {
  co_return co_await impl_->parts.store->read([route = std::move(route), id = std::move(message_id)](Database& db) {
    return is_journalled(db, route.channel, route.conversation, id);
  });
}

Task<Result<>> Gateway::skip(InboundEvent event, std::string why) {
  const std::string channel = event.route.channel;
  const std::string id = event.message_id;
  auto fresh = co_await impl_->parts.store->write(
      [row = row_of(event), why](Database& db) { return insert_event(db, row, why); });
  if (!fresh) co_return std::unexpected(fresh.error());
  if (*fresh) log::warning("{}: message {} was skipped: {}", channel, id, why);
  co_return Result<>{};
}

// A channel may be cancelled while its message is being journalled (a reload takes it out): the store's answer still
// arrives here, and there is no wait between it and the turn's place in the queue.
Task<Result<Accepted>> Gateway::accept(InboundEvent event) {
  Impl& self = *impl_;
  const auto& config = *self.parts.config;  // may change whenever we wait
  const auto channel = config.channels.find(event.route.channel);
  if (channel == config.channels.end()) {
    co_return fail(ErrorKind::not_found, fmt::format("no [channel.{}] in the configuration", event.route.channel));
  }
  const std::string agent = channel->second.agent;
  const std::string session = session_key_of(event);
  const UnixMillis now = self.parts.clock->now();
  const EventRow row = row_of(event);
  struct Inbound {
    std::int64_t& count;
    explicit Inbound(std::int64_t& c) : count(c) { ++count; }
    ~Inbound() { --count; }
  } counted(self.inbound);
  // A person's command; what a service reports is never one.
  const bool of_a_person = !event.relay && !event.answer_to;
  const UnixMillis oldest = now - config.gateway.max_backlog_age.count();
  if (const Command* command = of_a_person ? find_command(event.text) : nullptr)
    co_return co_await self.run_command(*command, std::move(event), oldest);
  auto journalled = co_await self.parts.store->write(
      [&, oldest](Database& db) { return journal_event(db, row, session, agent, oldest, now); });
  if (!journalled) co_return std::unexpected(journalled.error());
  if (journalled->duplicate) {
    ++self.counters.events_duplicate;
    co_return Accepted{.duplicate = true};
  }
  ++self.counters.events_accepted;
  if (journalled->outbox_id != 0) {
    const Route& to = event.answer_to ? *event.answer_to : event.route;
    self.delivery.queued(to.channel, to.conversation);
    co_return Accepted{};
  }
  if (journalled->turn_id == 0) {
    warn_too_old(event);
    co_return Accepted{};
  }
  if (self.draining || self.held || self.backlog.any || !self.has_room()) {
    // It waits in the store, in order, until there is room in memory; a draining gateway leaves it to its successor.
    if (!std::exchange(self.backlog.any, true)) self.backlog.after = journalled->turn_id - 1;
    ++self.backlog.count;
    co_return Accepted{};
  }
  self.enqueue({.id = journalled->turn_id,
                .session_id = journalled->session_id,
                .session_key = session,
                .direct = false,
                .agent = agent,
                .attempts = 0,
                .prompt = row.body,
                .request = {},
                .route = row.answer_to ? *row.answer_to : row.route});
  co_return Accepted{};
}

Task<Result<Accepted>> Gateway::Impl::run_command(const Command& command, InboundEvent event, UnixMillis oldest) {
  const CommandAnswer answer = answer_command(command, event, parts.desk);
  auto journalled = co_await parts.store->write(
      [row = row_of(event), &command, &answer, oldest, now = parts.clock->now()](Database& db) {
        return journal_command(db, row, std::string(command.name), answer.text, answer.restarts, oldest, now);
      });
  if (!journalled) co_return std::unexpected(journalled.error());
  if (journalled->duplicate) {
    ++counters.events_duplicate;
    co_return Accepted{.duplicate = true};
  }
  ++counters.events_accepted;
  if (journalled->outbox_id == 0) {
    warn_too_old(event);
    co_return Accepted{};
  }
  log::info("{}: {} of {}", event.route.channel, command.name, event.sender.id);
  delivery.queued(event.route.channel, event.route.conversation);
  if (answer.restarts)
    parts.desk.restart(fmt::format("{} in {}", event.sender.id, event.route.channel), journalled->outbox_id);
  co_return Accepted{};
}

void Gateway::Impl::enqueue(TurnRow row) {
  auto ticket = scheduler.enqueue(row.session_key);
  std::string name = fmt::format("turn {}", row.id);
  turn_tasks.spawn(std::move(name), run_queued(std::move(row), std::move(ticket)));
}

bool Gateway::Impl::has_room() const {
  return scheduler.waiting() < static_cast<std::size_t>(parts.config->gateway.max_queued_turns);
}

// Loads turns that wait in the store, oldest first, until memory's share is full. Writes are answered before reads:
// what the read sees, accept() has put into the backlog before.
Task<Result<>> Gateway::Impl::refill() {
  const int room = parts.config->gateway.max_queued_turns - static_cast<int>(scheduler.waiting());
  if (room <= 0) co_return Result<>{};
  auto rows = co_await parts.store->read(
      [from = backlog, room](Database& db) { return queued_turns(db, from.after, from.recovered_upto, room); });
  if (!rows) co_return std::unexpected(rows.error());
  if (rows->size() == static_cast<std::size_t>(room)) {
    backlog.after = rows->back().id;
    backlog.count = std::max<std::int64_t>(backlog.count - room, 0);
  } else {
    backlog = {};
  }
  for (TurnRow& row : *rows) enqueue(std::move(row));
  co_return Result<>{};
}

// Memory's share never stays empty while turns wait in the store, whoever made room in it.
Task<> Gateway::Impl::keep_filled() {
  Backoff backoff(Millis{200}, Millis{10'000});
  for (;;) {
    while (!needs_refill()) co_await refill_due.wait();
    if (auto ok = co_await refill(); ok) {
      backoff.reset();
    } else {
      log::error("backlog: {}", ok.error().what);
      co_await sleep_for(backoff.next());
    }
  }
}

// queued → running, tried until the store takes it. False: the turn is not ours any more.
Task<bool> Gateway::Impl::begin(TurnRow row, std::vector<Exchange>& history) {
  Backoff backoff(Millis{200}, Millis{10'000});
  for (;;) {
    auto begun = co_await parts.store->write(
        [id = row.id, session = row.session_id, n = parts.config->gateway.history_turns,
         now = parts.clock->now()](Database& db) { return begin_turn(db, id, session, n, now); });
    if (begun) {
      history = std::move(*begun);
      co_return true;
    }
    log::error("turn {}: {}", row.id, begun.error().what);
    if (begun.error().kind == ErrorKind::conflict) co_return false;
    co_await sleep_for(backoff.next());
  }
}

Task<> Gateway::Impl::run_queued(TurnRow row, std::unique_ptr<TurnScheduler::Ticket> ticket) {
  if (!co_await ticket->wait(Deadline::never())) co_return;  // draining: the row stays queued
  std::vector<Exchange> history;
  if (!co_await begin(row, history)) co_return;
  AgentRequest request;
  request.session = row.session_key;
  request.turn = row.id;
  std::vector<ChatMessage> messages{{Role::user, row.prompt}};
  if (!row.request.empty()) {
    // A direct turn that was cut off; its key will find the answer.
    if (auto stored = parse_direct_request(row.request)) {
      messages = std::move(stored->messages);
      request.temperature = stored->temperature;
      request.max_tokens = stored->max_tokens;
    }
  }
  AgentPtr agent = runner.agent_for(row);
  request.messages = runner.conversation(agent, history, std::move(messages));
  const auto live =
      std::make_shared<LiveAnswer>(parts.executor, delivery, *parts.store, *parts.clock, row,
                                   !row.direct && runner.takes_files(agent, parts.attachments), parts.live_times);
  turn_tasks.spawn("live answer", LiveAnswer::run(live));
  struct Stop {  // a turn that is cancelled right here has started it after the group was told to end
    LiveAnswer& live;
    ~Stop() { live.stop(); }
  } stop{*live};
  struct Ended {  // also when it is left to another program
    Event& event;
    ~Ended() { event.pulse(); }
  } ended{turn_ended};
  auto outcome = co_await runner.ask(agent, std::move(request), row.id, *live);
  if (!row.direct) co_await runner.take_files(agent, row.id, parts.attachments, outcome);
  co_await live->finish();
  const std::int64_t reply = co_await runner.finish(row.id, std::move(outcome));
  if (reply != 0) delivery.queued(row.route.channel, row.route.conversation);
  ticket.reset();
  turn_ended.pulse();
}

}  // namespace talaria
