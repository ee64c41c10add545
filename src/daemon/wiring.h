#pragma once
// Wiring by plain constructors: the configuration's agents and channels become objects, its secret references become
// secrets.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "channel/channel.h"
#include "config/loading.h"
#include "process/child_handover.h"

namespace talaria {

// The secrets of one run, read once, before anything is touched.
struct Wiring {
  std::vector<std::string> api_keys;
  std::map<std::string, std::string> agent_keys;  // by agent
  struct ChannelSecrets {
    std::string sasl_password, server_password;       // irc
    std::string password;                             // email
    std::string token;                                // telegram
    std::string webhook_secret, webhook_sign_secret;  // webhook; the first telegram, too
    std::vector<std::string> environment;             // "NAME=secret", of a channel program
    friend bool operator==(const ChannelSecrets&, const ChannelSecrets&) = default;
  };
  std::map<std::string, ChannelSecrets> channel_secrets;  // by channel
  std::vector<std::string> hidden_environment;            // names that no child may inherit
};

// Who will use the secrets. A running process can't be given another environment or other credentials, and one that a
// manager starts anew may have others: those of `fresh_start` can't be judged here.
enum class SecretsFor { this_start, running, fresh_start };
// A secret that can't be read becomes a diagnostic of `loaded`.
[[nodiscard]] Wiring resolve_secrets(LoadOutcome& loaded, const std::string& file,
                                     SecretsFor whom = SecretsFor::this_start);

// `children`: those of command agents, between two programs.
[[nodiscard]] std::unique_ptr<Agent> make_agent(const AgentConfig& agent, const Wiring& wiring,
                                                const std::shared_ptr<ChildHandover>& children,
                                                asio::any_io_executor executor);
[[nodiscard]] std::unique_ptr<Channel> make_channel(const ChannelConfig& channel, const Wiring& wiring,
                                                    asio::any_io_executor executor, const WallClock& clock);

[[nodiscard]] std::map<std::string, std::unique_ptr<Agent>> make_agents(const Config& config, const Wiring& wiring,
                                                                        const std::shared_ptr<ChildHandover>& children,
                                                                        asio::any_io_executor executor);
[[nodiscard]] std::vector<std::unique_ptr<Channel>> make_channels(const Config& config, const Wiring& wiring,
                                                                  asio::any_io_executor executor,
                                                                  const WallClock& clock);

}  // namespace talaria
