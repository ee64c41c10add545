#include "gateway/gateway.h"

#include <boost/json.hpp>

#include "gateway/channel_host.h"
#include "gateway/delivery.h"
#include "gateway/direct_request.h"
#include "gateway/session_key.h"
#include "gateway/turn_runner.h"
#include "gateway/turn_scheduler.h"
#include "runtime/backoff.h"
#include "runtime/log.h"
#include "store/notices.h"

namespace talaria {
namespace {

// Channels without streaming take the answer whole.
class NoSink final : public ReplySink {
 public:
  void on_text(std::string_view) override {}
  [[nodiscard]] bool wants_pieces() const override { return false; }
};

// What an asker hears of a failed turn. Why the agent failed is told by the words; to a client's retry logic it is
// late, busy or broken, never the asker's own mistake.
DirectFailure failure_of(const TurnOutcome& outcome) {
  const AgentError& error = outcome.reply.error();
  const bool told_apart = error.kind == ErrorKind::timeout || error.kind == ErrorKind::limit;
  ErrorKind kind = told_apart ? error.kind : ErrorKind::internal;
  if (!outcome.started) kind = ErrorKind::unavailable;
  return {kind, error.summary, outcome.reference};
}

RouteRow row_of(const Route& route) { return {route.channel, route.conversation, route.thread, route.reply_to}; }

EventRow row_of(const InboundEvent& event) {
  return {.route = row_of(event.route),
          .message_id = event.message_id,
          .sender_id = event.sender.id,
          .sender_name = event.sender.name,
          .body = event.text,
          .received_at = event.received_at};
}

}  // namespace

struct Gateway::Impl {
  Impl(Parts parts, Inbox& inbox);

  Task<Result<>> refill();
  void enqueue(TurnRow row);
  Task<Result<Accepted>> run_command(const Command& command, InboundEvent event);
  Task<> run_queued(TurnRow row, std::unique_ptr<TurnScheduler::Ticket> ticket);
  Task<bool> begin(TurnRow row, std::vector<Exchange>& history);

  // A direct turn that is journalled and has a place in its session's lane.
  struct DirectRun {
    std::int64_t turn_id = 0;
    std::int64_t session_id = 0;
    bool begun = false;  // entered `running` when it was journalled
    AgentPtr agent;      // as it was when the turn was accepted
    std::vector<Exchange> history;
    std::vector<ChatMessage> messages;
    AgentRequest request;
    std::unique_ptr<TurnScheduler::Ticket> ticket;
  };
  Task<TurnOutcome> run_to_end(DirectRun run, ReplySink& sink);

  // A keyed turn outlives its asker: it runs in the group, whoever waits looks on.
  struct Keyed {
    explicit Keyed(asio::any_io_executor ex) : done(std::move(ex)) {}
    Event done;
    ReplySink* sink = nullptr;           // of the asker, while there is one
    std::optional<TurnOutcome> outcome;  // none: it was cut off
  };
  Task<> run_keyed(std::shared_ptr<Keyed> state, std::string key, DirectRun run);
  Task<std::expected<DirectAnswer, DirectFailure>> answer_known(KeyedTurn known, std::string key, std::string digest);

  Parts parts;
  GatewayCounters counters;
  bool draining = false;
  bool held = false;  // channels' turns are left to the next run
  bool cut_short = false;
  bool refilling = false;
  bool backlog_in_store = false;  // queued turns beyond those in memory
  std::int64_t last_loaded = 0;   // id of the newest queued turn that was ever in memory
  std::int64_t inbound = 0;
  TurnScheduler scheduler;
  TurnRunner runner;
  Delivery delivery;
  std::unordered_map<std::string, std::shared_ptr<Keyed>> keyed;
  Event turn_ended;
  ChannelHost host;
  TaskGroup turn_tasks;  // last: ends before what it uses
};

Gateway::Impl::Impl(Parts p, Inbox& inbox)
    : parts(std::move(p)),
      scheduler(parts.executor, parts.config->gateway.max_concurrent_turns),
      runner(*parts.clock, *parts.store, *parts.config, std::move(parts.agents), counters),
      delivery(parts.executor, *parts.clock, *parts.store, parts.config->gateway.max_backlog_age, counters,
               parts.on_bug),
      turn_ended(parts.executor),
      host(parts.executor, inbox, delivery, parts.self, parts.on_bug),
      turn_tasks(parts.executor, parts.on_bug) {
  host.change(std::move(parts.channels), {});
}

Gateway::Gateway(Parts parts) : impl_(std::make_unique<Impl>(std::move(parts), *this)) {}
Gateway::~Gateway() = default;

Task<Result<>> Gateway::start() {
  auto told = co_await impl_->parts.store->write(
      [now = impl_->parts.clock->now()](Database& db) { return tell_return(db, "I am back.", now); });
  if (!told) co_return std::unexpected(told.error());
  if (auto ok = co_await impl_->refill(); !ok) co_return ok;
  if (auto ok = co_await impl_->delivery.start(); !ok) co_return ok;
  impl_->host.start();
  co_return Result<>{};
}

// ---- Turns of channels
// -----------------------------------------------------------------------------------------------

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
  if (const Command* command = find_command(event.text))
    co_return co_await self.run_command(*command, std::move(event));
  auto journalled =
      co_await self.parts.store->write([&, oldest = now - config.gateway.max_backlog_age.count()](Database& db) {
        return journal_event(db, row, session, agent, oldest, now);
      });
  if (!journalled) co_return std::unexpected(journalled.error());
  if (journalled->duplicate) {
    ++self.counters.events_duplicate;
    co_return Accepted{.duplicate = true};
  }
  ++self.counters.events_accepted;
  if (journalled->turn_id == 0) {
    log::warning("{}: message {} in {} is older than gateway.max_backlog_age and was skipped", event.route.channel,
                 event.message_id, event.route.conversation);
    co_return Accepted{};
  }
  const bool full = self.scheduler.waiting() >= static_cast<std::size_t>(config.gateway.max_queued_turns);
  if (self.draining || self.held || self.backlog_in_store || full) {
    // It waits in the store, in order, until there is room in memory; a draining gateway leaves it to its successor.
    self.backlog_in_store = true;
    co_return Accepted{};
  }
  self.enqueue({.id = journalled->turn_id,
                .session_id = journalled->session_id,
                .session_key = session,
                .direct = false,
                .agent = agent,
                .attempts = 0,
                .prompt = std::move(event.text),
                .request = {},
                .route = row_of(event.route)});
  co_return Accepted{};
}

Task<Result<Accepted>> Gateway::Impl::run_command(const Command& command, InboundEvent event) {
  const CommandAnswer answer = answer_command(command, event, parts.desk);
  auto journalled =
      co_await parts.store->write([row = row_of(event), &command, &answer, now = parts.clock->now()](Database& db) {
        return journal_command(db, row, std::string(command.name), answer.text, answer.restarts, now);
      });
  if (!journalled) co_return std::unexpected(journalled.error());
  if (journalled->duplicate) {
    ++counters.events_duplicate;
    co_return Accepted{.duplicate = true};
  }
  ++counters.events_accepted;
  log::info("{}: {} of {}", event.route.channel, command.name, event.sender.id);
  delivery.queued(event.route.channel, event.route.conversation);
  if (answer.restarts)
    parts.desk.restart(fmt::format("{} in {}", event.sender.id, event.route.channel), journalled->outbox_id);
  co_return Accepted{};
}

void Gateway::Impl::enqueue(TurnRow row) {
  last_loaded = std::max(last_loaded, row.id);
  auto ticket = scheduler.enqueue(row.session_key);
  std::string name = fmt::format("turn {}", row.id);
  turn_tasks.spawn(std::move(name), run_queued(std::move(row), std::move(ticket)));
}

// Loads queued turns, oldest first, until memory's share is full.
Task<Result<>> Gateway::Impl::refill() {
  const int room = parts.config->gateway.max_queued_turns - static_cast<int>(scheduler.waiting());
  if (room <= 0) co_return Result<>{};
  auto rows =
      co_await parts.store->read([after = last_loaded, room](Database& db) { return queued_turns(db, after, room); });
  if (!rows) co_return std::unexpected(rows.error());
  backlog_in_store = rows->size() == static_cast<std::size_t>(room);
  for (TurnRow& row : *rows) enqueue(std::move(row));
  co_return Result<>{};
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
  NoSink sink;
  struct Ended {  // also when it is left to another program
    Event& event;
    ~Ended() { event.pulse(); }
  } ended{turn_ended};
  auto outcome = co_await runner.ask(std::move(agent), std::move(request), row.id, sink);
  const std::int64_t reply = co_await runner.finish(row.id, std::move(outcome));
  if (reply != 0) delivery.queued(row.route.channel, row.route.conversation);
  ticket.reset();
  turn_ended.pulse();
  if (backlog_in_store && !refilling && !draining && !held && scheduler.waiting() == 0) {
    refilling = true;
    if (auto ok = co_await refill(); !ok) log::error("backlog: {}", ok.error().what);
    refilling = false;
  }
}

// ---- Direct turns
// ----------------------------------------------------------------------------------------------------

Task<std::expected<DirectAnswer, DirectFailure>> Gateway::run_direct(DirectTurn turn, ReplySink& sink) {
  Impl& self = *impl_;
  const auto& config = *self.parts.config;
  const auto refuse = [](ErrorKind kind, std::string message) {
    return std::unexpected(DirectFailure{kind, std::move(message), {}});
  };
  AgentPtr agent = self.runner.agent(turn.agent);
  if (!agent) co_return refuse(ErrorKind::not_found, fmt::format("there is no agent \"{}\"", turn.agent));
  if (turn.messages.empty()) co_return refuse(ErrorKind::invalid, "there is no message");
  if (self.draining) co_return refuse(ErrorKind::unavailable, "the gateway is shutting down; try again in a moment");
  if (self.scheduler.waiting() >= static_cast<std::size_t>(config.gateway.max_queued_turns)) {
    co_return refuse(ErrorKind::limit, "too many turns are waiting; try again in a moment");
  }

  const bool keyed = !turn.idempotency_key.empty();
  DirectTurnRow row;
  if (!turn.session.empty()) {
    row.session_key = api_session_key(turn.agent, turn.session);
    // The session's transcript is ours; of what the asker sends only the last message is new.
    turn.messages.erase(turn.messages.begin(), turn.messages.end() - 1);
    row.history = config.gateway.history_turns;
  }
  row.agent = turn.agent;
  row.prompt = turn.messages.back().content;
  row.idempotency_key = turn.idempotency_key;
  if (keyed) {
    row.request = format_direct_request(turn);
    row.request_digest = digest_direct_request(turn);
  }
  auto ticket = self.scheduler.enqueue(row.session_key);
  row.start_now = ticket->granted();
  auto journalled = co_await self.parts.store->write(
      [&row, now = self.parts.clock->now()](Database& db) { return journal_direct(db, row, now); });
  if (!journalled) {
    log::error("direct turn: {}", journalled.error().what);
    co_return refuse(ErrorKind::unavailable, "the request could not be stored; try again in a moment");
  }
  if (journalled->known) {
    ticket.reset();
    co_return co_await self.answer_known(std::move(*journalled->known), turn.idempotency_key, row.request_digest);
  }
  const std::int64_t id = journalled->turn_id;

  Impl::DirectRun run{.turn_id = id,
                      .session_id = journalled->session_id,
                      .begun = row.start_now,
                      .agent = std::move(agent),
                      .history = std::move(journalled->history),
                      .messages = std::move(turn.messages),
                      .request = {},
                      .ticket = std::move(ticket)};
  run.request.session = row.session_key;
  run.request.temperature = turn.temperature;
  run.request.max_tokens = turn.max_tokens;
  if (keyed) run.request.turn = id;  // else nobody can fetch its answer from the next program

  TurnOutcome outcome;
  if (keyed) {
    auto state = std::make_shared<Impl::Keyed>(self.parts.executor);
    state->sink = &sink;
    self.keyed.emplace(turn.idempotency_key, state);
    self.turn_tasks.spawn(fmt::format("turn {}", id), self.run_keyed(state, turn.idempotency_key, std::move(run)));
    struct Detach {
      Impl::Keyed& state;
      ~Detach() { state.sink = nullptr; }
    } detach{*state};
    co_await state->done.wait();
    if (!state->outcome)
      co_return refuse(ErrorKind::unavailable, "the gateway is shutting down; ask again with the same key");
    outcome = *state->outcome;
  } else {
    // The row must reach an end, also when the asker goes away and this coroutine is unwound.
    struct CancelGuard {
      Impl& self;
      std::int64_t id;
      bool armed = true;
      ~CancelGuard() {
        if (armed) self.turn_tasks.spawn("cancel turn", self.runner.cancel(id, "the asker went away"));
        self.turn_ended.pulse();
      }
    } guard{self, id};
    outcome = co_await self.run_to_end(std::move(run), sink);
    guard.armed = false;
  }
  if (!outcome.reply) co_return std::unexpected(failure_of(outcome));
  co_return DirectAnswer{.turn = id, .reply = std::move(*outcome.reply), .replayed = false};
}

// Waits for the turn's place, asks the agent, writes the end.
Task<TurnOutcome> Gateway::Impl::run_to_end(DirectRun run, ReplySink& sink) {
  if (!run.begun) {
    TurnRow queued;
    queued.id = run.turn_id;
    queued.session_id = run.session_id;
    const bool granted = co_await run.ticket->wait(Deadline::in(parts.config->gateway.turn_timeout));
    if (!granted || !co_await begin(std::move(queued), run.history)) {
      TurnOutcome refused;
      refused.reply = std::unexpected(AgentError{
          ErrorKind::unavailable,
          draining ? "the gateway is shutting down; try again in a moment" : "the turn waited too long for its session",
          ""});
      refused.started = false;
      if (!draining) co_await runner.cancel(run.turn_id, "it waited too long for its session");
      co_return refused;
    }
  }
  run.request.messages = runner.conversation(run.agent, run.history, std::move(run.messages));
  TurnOutcome outcome = co_await runner.ask(run.agent, std::move(run.request), run.turn_id, sink);
  (void)co_await runner.finish(run.turn_id, outcome);
  co_return outcome;
}

Task<> Gateway::Impl::run_keyed(std::shared_ptr<Keyed> state, std::string key, DirectRun run) {
  struct Relay final : ReplySink {
    explicit Relay(Keyed& k) : keyed(k) {}
    void on_text(std::string_view piece) override {
      if (keyed.sink != nullptr) keyed.sink->on_text(piece);
    }
    [[nodiscard]] bool wants_pieces() const override { return keyed.sink != nullptr && keyed.sink->wants_pieces(); }
    Keyed& keyed;
  } relay(*state);
  struct Leave {
    Impl& self;
    Keyed& state;
    const std::string& key;
    ~Leave() {
      self.keyed.erase(key);
      state.done.set();
      self.turn_ended.pulse();
    }
  } leave{*this, *state, key};
  state->outcome = co_await run_to_end(std::move(run), relay);
}

// The key is known: the same answer again, after waiting for it if need be.
Task<std::expected<DirectAnswer, DirectFailure>> Gateway::Impl::answer_known(KeyedTurn known, std::string key,
                                                                             std::string digest) {
  if (known.request_digest != digest) {
    co_return std::unexpected(
        DirectFailure{ErrorKind::invalid, "this Idempotency-Key was used for a different request", {}});
  }
  const Deadline deadline = Deadline::in(parts.config->gateway.turn_timeout);
  while (known.state == "queued" || known.state == "running") {
    if (draining || deadline.expired()) {
      co_return std::unexpected(
          DirectFailure{ErrorKind::unavailable, "the turn is not finished yet; ask again with the same key", {}});
    }
    if (const auto running = keyed.find(key); running != keyed.end()) {
      const auto state = running->second;
      co_await state->done.wait(deadline);
    } else {
      co_await turn_ended.wait(deadline);  // taken up by recovery: any turn's end is a reason to look again
    }
    auto again = co_await parts.store->read([&key](Database& db) { return find_keyed_turn(db, key); });
    if (!again || !*again)
      co_return std::unexpected(DirectFailure{ErrorKind::unavailable, "the turn can't be read", {}});
    known = std::move(**again);
  }
  if (known.state != "finished") {
    co_return std::unexpected(DirectFailure{ErrorKind::internal, "the turn under this Idempotency-Key failed", {}});
  }
  DirectAnswer answer;
  answer.turn = known.id;
  answer.replayed = true;
  answer.reply = {.text = std::move(known.answer),
                  .finish_reason = std::move(known.finish_reason),
                  .usage = {known.prompt_tokens, known.completion_tokens}};
  co_return answer;
}

// ---- Sending, drain, report
// ------------------------------------------------------------------------------------------

Task<Result<std::int64_t>> Gateway::send(Route route, std::string text) {
  Impl& self = *impl_;
  if (!self.delivery.has_channel(route.channel)) {
    co_return fail(ErrorKind::not_found, fmt::format("there is no channel \"{}\" in the configuration", route.channel));
  }
  auto id = co_await self.parts.store->write([r = row_of(route), &text, now = self.parts.clock->now()](Database& db) {
    return queue_reply(db, r, text, now);
  });
  if (id) self.delivery.queued(route.channel, route.conversation);
  co_return id;
}

Task<Result<>> Gateway::wait_delivered(std::int64_t outbox_id, Deadline deadline) {
  return impl_->delivery.wait_delivered(outbox_id, deadline);
}

Task<Result<>> Gateway::retry_dead(std::int64_t outbox_id) {
  auto route =
      co_await impl_->parts.store->write([outbox_id](Database& db) { return talaria::retry_dead(db, outbox_id); });
  if (!route) co_return std::unexpected(route.error());
  impl_->delivery.dead_changed(-1);
  impl_->delivery.queued(route->channel, route->conversation);
  co_return Result<>{};
}

Task<Result<>> Gateway::discard_dead(std::int64_t outbox_id) {
  auto done =
      co_await impl_->parts.store->write([outbox_id](Database& db) { return talaria::discard_dead(db, outbox_id); });
  if (done) impl_->delivery.dead_changed(-1);
  co_return done;
}

void Gateway::begin_drain() {
  impl_->draining = true;
  impl_->scheduler.hold();
}

Event& Gateway::turn_ended() { return impl_->turn_ended; }

std::uint64_t Gateway::progress() const {
  const GatewayCounters& c = impl_->counters;
  return c.pieces + c.turns_finished + c.turns_failed + c.turns_cancelled + c.replies_sent + c.delivery_errors;
}

Task<bool> Gateway::end_turns(Deadline deadline) { co_return co_await impl_->turn_tasks.stop(deadline); }

Task<> Gateway::settle_turns() { (void)co_await impl_->turn_tasks.join(); }

Task<bool> Gateway::end_deliveries(Deadline deadline) { co_return co_await impl_->delivery.stop(deadline); }
Task<bool> Gateway::end_channels(Deadline deadline) { co_return co_await impl_->host.stop(deadline); }

Task<Gateway::Drained> Gateway::drain(Deadline deadline) {
  Impl& self = *impl_;
  begin_drain();
  while (self.scheduler.running() > 0 && !deadline.expired() && !self.cut_short) {
    co_await self.turn_ended.wait(deadline);
  }
  Drained drained{.cut_off = self.scheduler.running()};
  // An agent's process group is given 2 s between TERM and KILL.
  const Deadline closing = Deadline::in(std::chrono::seconds(5));
  drained.clean = co_await end_turns(closing);
  drained.clean = co_await end_deliveries(deadline.earlier(closing)) && drained.clean;
  drained.clean = co_await end_channels(closing) && drained.clean;
  co_return drained;
}

void Gateway::hold_new_turns() { impl_->held = true; }

void Gateway::cut_drain_short() {
  impl_->cut_short = true;
  impl_->turn_ended.pulse();
  impl_->delivery.hurry();
}

void Gateway::network_is_back() { impl_->host.network_is_back(); }

bool Gateway::draining() const { return impl_->draining; }

QueueDepths Gateway::depths() const {
  const Impl& self = *impl_;
  return {.inbound = self.inbound,
          .turns = static_cast<std::int64_t>(self.scheduler.waiting()) + self.scheduler.running(),
          .running = self.scheduler.running(),
          .outbox = self.delivery.open(),
          .dead = self.delivery.dead()};
}

void Gateway::reconfigure(Change change) {
  Impl& self = *impl_;
  const GatewayConfig& limits = self.parts.config->gateway;
  self.runner.change_agents(std::move(change.agents), change.agents_gone);
  self.delivery.set_max_age(limits.max_backlog_age);
  self.scheduler.set_max_running(limits.max_concurrent_turns);
  self.host.change(std::move(change.channels), change.channels_gone);
}

Task<bool> Gateway::settled(Deadline deadline) { return impl_->host.settled(deadline); }

std::vector<ChannelReport> Gateway::channels() const { return impl_->host.reports(); }
const std::map<std::string, std::int64_t>& Gateway::stranded_replies() const { return impl_->delivery.stranded(); }

const GatewayCounters& Gateway::counters() const { return impl_->counters; }
std::vector<std::string> Gateway::agent_names() const { return impl_->runner.agent_names(); }

}  // namespace talaria
