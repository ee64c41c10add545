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
  bool started = true;           // false: the agent was never asked
  std::string reference;         // of a failure, for log and chat
  std::string attachments = {};  // of the answer (attachment_json.h)
};

// An agent with the settings it was made for. A turn keeps the one that it began with, also when a reload takes it out.
struct ConfiguredAgent {
  AgentConfig settings;
  std::unique_ptr<Agent> agent;
};
using AgentPtr = std::shared_ptr<const ConfiguredAgent>;

class TurnRunner {
 public:
  TurnRunner(const WallClock& clock, Store& store, const Config& config,
             std::map<std::string, std::unique_ptr<Agent>> agents, GatewayCounters& counters)
      : clock_(clock), store_(store), config_(config), counters_(counters) {
    change_agents(std::move(agents), {});
  }

  // Their settings are those of the configuration now.
  void change_agents(std::map<std::string, std::unique_ptr<Agent>> fresh, const std::vector<std::string>& gone);
  // Null: there is none of that name.
  [[nodiscard]] AgentPtr agent(const std::string& name) const;
  // The agent for a turn of a channel: the one it was queued for, else the one that the channel has now.
  [[nodiscard]] AgentPtr agent_for(const TurnRow& turn) const;
  [[nodiscard]] std::vector<std::string> agent_names() const;

  // The system prompt, the history, then the new messages. A conversation that brings its own system message keeps it.
  [[nodiscard]] static std::vector<ChatMessage> conversation(const AgentPtr& agent,
                                                             const std::vector<Exchange>& history,
                                                             std::vector<ChatMessage> messages);

  // Asks the agent; null: says that there is none any more. Never throws for what an agent did.
  Task<TurnOutcome> ask(AgentPtr agent, AgentRequest request, std::int64_t turn_id, ReplySink& sink);

  // Files that a channel's answer names are sent along: its agent may send some, and there is a directory to keep them.
  [[nodiscard]] static bool takes_files(const AgentPtr& agent, const std::string& directory);
  // Takes them into `directory`.
  Task<> take_files(AgentPtr agent, std::int64_t turn_id, const std::string& directory, TurnOutcome& outcome);

  // Writes the end of a turn; one of a channel that failed or gave no answer says so in its chat. Returns the outbox
  // row's id, 0 without one.
  Task<std::int64_t> finish(std::int64_t turn_id, TurnOutcome outcome);
  Task<> cancel(std::int64_t turn_id, std::string why);

 private:
  Task<std::int64_t> write_end(TurnEnd end);

  const WallClock& clock_;
  Store& store_;
  const Config& config_;
  std::map<std::string, AgentPtr> agents_;
  GatewayCounters& counters_;
};

}  // namespace talaria
