// The gateway's turns that somebody waits for on a connection: API and terminal.
#include "gateway/direct_request.h"
#include "gateway/gateway_impl.h"
#include "gateway/session_key.h"
#include "runtime/log.h"

namespace talaria {
namespace {

// What an asker hears of a failed turn. Why the agent failed is told by the words; to a client's retry logic it is
// late, busy or broken, never the asker's own mistake.
DirectFailure failure_of(const TurnOutcome& outcome) {
  const AgentError& error = outcome.reply.error();
  const bool told_apart = error.kind == ErrorKind::timeout || error.kind == ErrorKind::limit;
  ErrorKind kind = told_apart ? error.kind : ErrorKind::internal;
  if (!outcome.started) kind = ErrorKind::unavailable;
  return {kind, error.summary, outcome.reference};
}

}  // namespace

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
  if (!self.has_room()) co_return refuse(ErrorKind::limit, "too many turns are waiting; try again in a moment");

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
        const char* why = self.cut_off.is_set() ? "the gateway ended while the asker waited" : "the asker went away";
        if (armed) self.turn_tasks.spawn("cancel turn", self.runner.cancel(id, why));
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
  struct Unkeyed {
    std::int64_t& count;
    const int one;
    Unkeyed(std::int64_t& c, bool counts) : count(c), one(counts ? 1 : 0) { count += one; }
    ~Unkeyed() { count -= one; }
  } counted(unkeyed, run.request.turn == 0);
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

}  // namespace talaria
