#include "daemon/wiring.h"

#include "agent/command/command_agent.h"
#include "agent/echo/echo_agent.h"
#include "agent/openai/openai_agent.h"
#include "channel/irc/irc.h"

namespace talaria {

Wiring resolve_secrets(LoadOutcome& loaded, const std::string& file) {
  Wiring wiring;
  const auto resolve = [&](const SecretRef& ref, const std::string& key) -> std::string {
    if (ref.source == SecretRef::Source::environment) wiring.hidden_environment.push_back(ref.name);
    auto secret = resolve_secret(ref);
    if (secret) return *secret;
    loaded.diagnostics.push_back({file, 0, 0, key, secret.error().what});
    return {};
  };
  for (const SecretRef& ref : loaded.config.api.keys) wiring.api_keys.push_back(resolve(ref, "api.keys"));
  for (const auto& [name, agent] : loaded.config.agents) {
    if (agent.api_key) wiring.agent_keys[name] = resolve(*agent.api_key, "agent." + name + ".api_key");
  }
  for (const auto& [name, channel] : loaded.config.channels) {
    auto& secrets = wiring.channel_secrets[name];
    if (channel.irc.sasl_password)
      secrets.sasl_password = resolve(*channel.irc.sasl_password, "channel." + name + ".sasl_password");
    if (channel.irc.server_password) {
      secrets.server_password = resolve(*channel.irc.server_password, "channel." + name + ".server_password");
    }
  }
  return wiring;
}

std::map<std::string, std::unique_ptr<Agent>> make_agents(const Config& config, const Wiring& wiring,
                                                          const std::shared_ptr<ChildHandover>& children,
                                                          asio::any_io_executor executor) {
  std::map<std::string, std::unique_ptr<Agent>> agents;
  for (const auto& [name, agent] : config.agents) {
    if (agent.kind == "echo") {
      agents[name] = make_echo_agent();
    } else if (agent.kind == "command") {
      agents[name] = make_command_agent(agent, wiring.hidden_environment, children);
    } else {
      const auto key = wiring.agent_keys.find(name);
      agents[name] = make_openai_agent(agent, key != wiring.agent_keys.end() ? key->second : std::string(), executor);
    }
  }
  return agents;
}

std::vector<std::unique_ptr<Channel>> make_channels(const Config& config, const Wiring& wiring,
                                                    asio::any_io_executor executor, const WallClock& clock) {
  std::vector<std::unique_ptr<Channel>> channels;
  for (const auto& [name, channel] : config.channels) {
    const auto& secrets = wiring.channel_secrets.at(name);
    channels.push_back(make_irc_channel(channel, {secrets.sasl_password, secrets.server_password}, executor, clock));
  }
  return channels;
}

}  // namespace talaria
