#pragma once
// Runs one turn: hands the conversation to its agent, and writes the end of the turn and its reply in one transaction.
// What the agent computed is never dropped because the disk is full for a moment: the write is tried until it succeeds.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "config/config.h"
#include "gateway/gateway.h"
#include "store/journal.h"
#include "store/store.h"

namespace talaria {

struct TurnOutcome {
  std::expected<AgentReply, AgentError> reply;
  bool started = true;    // false: the agent was never asked
  std::string reference;  // of a failure, for log and chat
};

class TurnRunner {
 public:
  TurnRunner(const WallClock& clock, Store& store, const Config& config,
             std::map<std::string, std::unique_ptr<Agent>> agents, GatewayCounters& counters)
      : clock_(clock), store_(store), config_(config), agents_(std::move(agents)), counters_(counters) {}

  [[nodiscard]] bool has_agent(const std::string& name) const { return agents_.contains(name); }
  [[nodiscard]] std::vector<std::string> agent_names() const;

  // The system prompt, the history, then the new messages. A conversation that brings its own system message keeps it.
  [[nodiscard]] std::vector<ChatMessage> conversation(const std::string& agent, const std::vector<Exchange>& history,
                                                      std::vector<ChatMessage> messages) const;

  // Asks the agent. Never throws for what an agent did.
  Task<TurnOutcome> ask(std::string agent, AgentRequest request, std::int64_t turn_id, ReplySink& sink);

  // Writes the end of a turn; a failed one of a channel apologises in its chat. Returns the outbox row's id, 0 without
  // one.
  Task<std::int64_t> finish(std::int64_t turn_id, TurnOutcome outcome);
  Task<> cancel(std::int64_t turn_id, std::string why);

 private:
  Task<std::int64_t> write_end(TurnEnd end);

  const WallClock& clock_;
  Store& store_;
  const Config& config_;
  std::map<std::string, std::unique_ptr<Agent>> agents_;
  GatewayCounters& counters_;
};

}  // namespace talaria
