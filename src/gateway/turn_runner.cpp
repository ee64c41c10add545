#include "gateway/turn_runner.h"

#include <algorithm>

#include "runtime/backoff.h"
#include "runtime/log.h"

namespace talaria {

std::vector<std::string> TurnRunner::agent_names() const {
  std::vector<std::string> names;
  for (const auto& [name, agent] : agents_) names.push_back(name);
  return names;
}

std::vector<ChatMessage> TurnRunner::conversation(const std::string& agent, const std::vector<Exchange>& history,
                                                  std::vector<ChatMessage> messages) const {
  std::vector<ChatMessage> all;
  const auto settings = config_.agents.find(agent);
  const bool brings_system = std::ranges::any_of(messages, [](const ChatMessage& m) { return m.role == Role::system; });
  if (settings != config_.agents.end() && !settings->second.system.empty() && !brings_system) {
    all.push_back({Role::system, settings->second.system});
  }
  for (const Exchange& exchange : history) {
    all.push_back({Role::user, exchange.prompt});
    all.push_back({Role::assistant, exchange.answer});
  }
  std::ranges::move(messages, std::back_inserter(all));
  return all;
}

Task<TurnOutcome> TurnRunner::ask(std::string agent, AgentRequest request, std::int64_t turn_id, ReplySink& sink) {
  TurnOutcome outcome;
  const auto found = agents_.find(agent);
  if (found == agents_.end()) {
    outcome.reply = std::unexpected(AgentError{ErrorKind::not_found, "its agent is not configured any more",
                                               fmt::format("no [agent.{}] in the configuration", agent)});
  } else {
    Millis limit = config_.gateway.turn_timeout;
    const auto settings = config_.agents.find(agent);
    if (settings != config_.agents.end() && settings->second.timeout) limit = *settings->second.timeout;
    request.deadline = request.deadline.earlier(Deadline::in(limit));
    outcome.reply = co_await found->second->run(std::move(request), sink);
  }
  if (!outcome.reply) {
    outcome.reference = "E-" + random_id(8);
    const AgentError& error = outcome.reply.error();
    log::warning("turn {}: agent \"{}\" failed ({}), reference {}: {}: {}", turn_id, agent, to_string(error.kind),
                 outcome.reference, error.summary, error.detail);
  }
  co_return outcome;
}

Task<std::int64_t> TurnRunner::finish(std::int64_t turn_id, TurnOutcome outcome) {
  TurnEnd end;
  end.turn_id = turn_id;
  if (outcome.reply) {
    end.state = "finished";
    end.answer = std::move(outcome.reply->text);
    end.finish_reason = std::move(outcome.reply->finish_reason);
    end.prompt_tokens = outcome.reply->usage.prompt_tokens;
    end.completion_tokens = outcome.reply->usage.completion_tokens;
    if (!end.answer.empty()) end.reply = end.answer;
    ++counters_.turns_finished;
  } else {
    end.state = "failed";
    end.error =
        fmt::format("{}: {}: {}", outcome.reference, outcome.reply.error().summary, outcome.reply.error().detail);
    end.reply = fmt::format("Sorry, {}. (Reference {})", outcome.reply.error().summary, outcome.reference);
    ++counters_.turns_failed;
  }
  co_return co_await write_end(std::move(end));
}

Task<> TurnRunner::cancel(std::int64_t turn_id, std::string why) {
  ++counters_.turns_cancelled;
  TurnEnd end;
  end.turn_id = turn_id;
  end.state = "cancelled";
  end.error = std::move(why);
  (void)co_await write_end(std::move(end));
}

Task<std::int64_t> TurnRunner::write_end(TurnEnd end) {
  Backoff backoff(Millis{100}, Millis{2'000});
  for (;;) {
    auto written = co_await store_.write([&end, now = clock_.now()](Database& db) { return end_turn(db, end, now); });
    if (written) co_return *written;
    log::error("turn {}: its end could not be stored: {}", end.turn_id, written.error().what);
    if (written.error().kind == ErrorKind::conflict) co_return 0;  // ended already
    co_await sleep_for(backoff.next());
  }
}

}  // namespace talaria
