#include "gateway/turn_runner.h"

#include <algorithm>

#include "gateway/answer_files.h"
#include "gateway/attachment_json.h"
#include "runtime/backoff.h"
#include "runtime/log.h"

namespace talaria {
namespace {

// Passes the pieces on and counts them: a stop waits longer for turns that move.
class CountedSink final : public ReplySink {
 public:
  CountedSink(ReplySink& sink, std::uint64_t& pieces) : sink_(sink), pieces_(pieces) {}
  void on_text(std::string_view piece) override {
    ++pieces_;
    sink_.on_text(piece);
  }
  [[nodiscard]] bool wants_pieces() const override { return sink_.wants_pieces(); }

 private:
  ReplySink& sink_;
  std::uint64_t& pieces_;
};

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace

std::vector<std::string> TurnRunner::agent_names() const {
  std::vector<std::string> names;
  for (const auto& [name, agent] : agents_) names.push_back(name);
  return names;
}

void TurnRunner::change_agents(std::map<std::string, std::unique_ptr<Agent>> fresh,
                               const std::vector<std::string>& gone) {
  for (const std::string& name : gone) agents_.erase(name);
  for (auto& [name, agent] : fresh) {
    const auto settings = config_.agents.find(name);
    auto configured = std::make_shared<ConfiguredAgent>();
    if (settings != config_.agents.end()) configured->settings = settings->second;
    configured->settings.name = name;
    configured->agent = std::move(agent);
    agents_[name] = std::move(configured);
  }
}

AgentPtr TurnRunner::agent(const std::string& name) const {
  const auto found = agents_.find(name);
  return found == agents_.end() ? nullptr : found->second;
}

AgentPtr TurnRunner::agent_for(const TurnRow& turn) const {
  if (auto named = agent(turn.agent)) return named;
  const auto channel = config_.channels.find(turn.route.channel);
  return channel == config_.channels.end() ? nullptr : agent(channel->second.agent);
}

std::vector<ChatMessage> TurnRunner::conversation(const AgentPtr& agent, const std::vector<Exchange>& history,
                                                  std::vector<ChatMessage> messages) {
  std::vector<ChatMessage> all;
  const bool brings_system = std::ranges::any_of(messages, [](const ChatMessage& m) { return m.role == Role::system; });
  if (agent && !agent->settings.system.empty() && !brings_system) {
    all.push_back({Role::system, agent->settings.system});
  }
  for (const Exchange& exchange : history) {
    all.push_back({Role::user, exchange.prompt});
    all.push_back({Role::assistant, exchange.answer});
  }
  std::ranges::move(messages, std::back_inserter(all));
  return all;
}

Task<TurnOutcome> TurnRunner::ask(AgentPtr agent, AgentRequest request, std::int64_t turn_id, ReplySink& sink) {
  TurnOutcome outcome;
  if (!agent) {
    outcome.reply = std::unexpected(AgentError{ErrorKind::not_found, "its agent is not configured any more", ""});
  } else {
    const Millis limit = agent->settings.timeout.value_or(config_.gateway.turn_timeout);
    request.deadline = request.deadline.earlier(Deadline::in(limit));
    CountedSink counted(sink, counters_.pieces);
    outcome.reply = co_await agent->agent->run(std::move(request), counted);
  }
  if (!outcome.reply) {
    outcome.reference = "E-" + random_id(8);
    const AgentError& error = outcome.reply.error();
    log::warning("turn {}: agent \"{}\" failed ({}), reference {}: {}: {}", turn_id, agent ? agent->settings.name : "?",
                 to_string(error.kind), outcome.reference, error.summary, error.detail);
  }
  co_return outcome;
}

bool TurnRunner::takes_files(const AgentPtr& agent, const std::string& directory) {
  return agent && !agent->settings.attach_from.empty() && !directory.empty();
}

Task<> TurnRunner::take_files(AgentPtr agent, std::int64_t turn_id, const std::string& directory,
                              TurnOutcome& outcome) {
  if (!takes_files(agent, directory) || !outcome.reply) co_return;
  AnswerFiles files = find_answer_files(outcome.reply->text);
  if (files.paths.empty()) co_return;
  std::vector<Attachment> taken;
  Backoff backoff(Millis{200}, Millis{10'000});
  for (const std::string& path : files.paths) {
    for (int tries = 1;; ++tries) {
      auto file = co_await store_.read([path, directory, roots = agent->settings.attach_from](Database&) {
        return take_answer_file(path, roots, directory);
      });
      if (file) {
        taken.push_back(std::move(*file));
        break;
      }
      log::warning("turn {}: agent \"{}\": a file is not attached: {}", turn_id, agent->settings.name,
                   file.error().what);
      if (file.error().kind != ErrorKind::unavailable || tries == 20) {
        files.text += files.text.empty() ? "" : "\n";
        files.text += "(A file could not be attached.)";
        break;
      }
      co_await sleep_for(backoff.next());  // a full disk may pass, what the agent computed must not be lost
    }
  }
  outcome.reply->text = std::move(files.text);
  outcome.attachments = format_attachments(taken);
}

Task<std::int64_t> TurnRunner::finish(std::int64_t turn_id, TurnOutcome outcome) {
  TurnEnd end;
  end.turn_id = turn_id;
  bool silent = false;
  if (outcome.reply) {
    end.state = "finished";
    end.answer = std::move(outcome.reply->text);
    end.finish_reason = std::move(outcome.reply->finish_reason);
    end.prompt_tokens = outcome.reply->usage.prompt_tokens;
    end.completion_tokens = outcome.reply->usage.completion_tokens;
    end.attachments = std::move(outcome.attachments);
    silent = is_blank(end.answer) && end.attachments.empty();
    end.reply = silent ? "(The agent gave no answer.)" : end.answer;
    ++counters_.turns_finished;
  } else {
    end.state = "failed";
    end.error =
        fmt::format("{}: {}: {}", outcome.reference, outcome.reply.error().summary, outcome.reply.error().detail);
    end.reply = fmt::format("Sorry, {}. (Reference {})", outcome.reply.error().summary, outcome.reference);
    ++counters_.turns_failed;
  }
  const std::string reason = end.finish_reason;
  const std::int64_t reply = co_await write_end(std::move(end));
  if (silent && reply != 0)
    log::warning("turn {}: the agent gave no answer (finish reason: {})", turn_id, reason.empty() ? "unknown" : reason);
  co_return reply;
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
