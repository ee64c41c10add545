#include "daemon/wiring.h"

#include <fmt/format.h>

#include "agent/command/command_agent.h"
#include "agent/echo/echo_agent.h"
#include "agent/openai/openai_agent.h"
#include "channel/email/email.h"
#include "channel/irc/irc.h"
#include "channel/program/program.h"
#include "channel/telegram/telegram.h"
#include "channel/webhook/signature.h"
#include "channel/webhook/webhook.h"
#include "runtime/log.h"

namespace talaria {

Wiring resolve_secrets(LoadOutcome& loaded, const std::string& file, SecretsFor whom) {
  Wiring wiring;
  const auto resolve = [&](const SecretRef& ref, const std::string& key) -> std::string {
    const bool of_the_start = ref.source != SecretRef::Source::file;
    if (of_the_start && whom == SecretsFor::fresh_start) return {};
    if (ref.source == SecretRef::Source::environment) wiring.hidden_environment.push_back(ref.name);
    auto secret = resolve_secret(ref);
    if (secret) return *secret;
    const auto line = loaded.lines.find(key);
    const int at = line == loaded.lines.end() ? 0 : line->second;
    const char* hint =
        of_the_start && whom == SecretsFor::running ? " (what was given at the start stays: restart)" : "";
    loaded.diagnostics.push_back({file, at, 1, key, secret.error().what + hint});
    return {};
  };
  // Of keys that have a form of their own, a wrong one is known before anything starts.
  const auto resolve_webhook = [&](const ChannelConfig& channel, Wiring::ChannelSecrets& secrets) {
    const std::string path = "channel." + channel.name;
    const auto one = [&](const std::optional<SecretRef>& ref, const std::string& key, bool standard) -> std::string {
      if (!ref) return {};
      std::string secret = resolve(*ref, key);
      const bool of_standard = standard || (channel.webhook.scheme == "gitlab" && secret.starts_with("whsec_"));
      if (secret.empty() || !of_standard) return secret;
      if (const auto usable = webhook::standard_key(secret); !usable) {
        const auto line = loaded.lines.find(key);
        loaded.diagnostics.push_back({file, line == loaded.lines.end() ? 0 : line->second, 1, key,
                                      fmt::format("{} {}", to_string(*ref), usable.error().what)});
      }
      return secret;
    };
    const bool signing = channel.webhook.scheme == "standard";
    secrets.webhook_secret = one(channel.webhook.secret, path + ".secret", signing);
    secrets.webhook_sign_secret = one(channel.webhook.sign_secret, path + ".sign_secret", true);
  };
  for (const SecretRef& ref : loaded.config.api.keys) wiring.api_keys.push_back(resolve(ref, "api.keys"));
  for (const auto& [name, agent] : loaded.config.agents) {
    if (agent.api_key) wiring.agent_keys[name] = resolve(*agent.api_key, "agent." + name + ".api_key");
  }
  for (const auto& [name, channel] : loaded.config.channels) {
    auto& secrets = wiring.channel_secrets[name];
    if (channel.email.password) secrets.password = resolve(*channel.email.password, "channel." + name + ".password");
    if (channel.irc.sasl_password)
      secrets.sasl_password = resolve(*channel.irc.sasl_password, "channel." + name + ".sasl_password");
    if (channel.irc.server_password) {
      secrets.server_password = resolve(*channel.irc.server_password, "channel." + name + ".server_password");
    }
    resolve_webhook(channel, secrets);
    for (const auto& [variable, ref] : channel.program.environment)
      secrets.environment.push_back(variable + "=" + resolve(ref, "channel." + name + ".environment"));
    if (channel.telegram.token) secrets.token = resolve(*channel.telegram.token, "channel." + name + ".token");
    if (channel.telegram.webhook_secret) {
      secrets.webhook_secret = resolve(*channel.telegram.webhook_secret, "channel." + name + ".webhook_secret");
    }
  }
  return wiring;
}

std::unique_ptr<Agent> make_agent(const AgentConfig& agent, const Wiring& wiring,
                                  const std::shared_ptr<ChildHandover>& children, asio::any_io_executor executor) {
  if (agent.kind == "echo") return make_echo_agent();
  if (agent.kind == "command") return make_command_agent(agent, wiring.hidden_environment, children);
  const auto key = wiring.agent_keys.find(agent.name);
  return make_openai_agent(agent, key != wiring.agent_keys.end() ? key->second : std::string(), std::move(executor));
}

std::unique_ptr<Channel> make_channel(const ChannelConfig& channel, const Wiring& wiring,
                                      asio::any_io_executor executor, const WallClock& clock) {
  const auto& secrets = wiring.channel_secrets.at(channel.name);
  if (channel.kind == "email") return make_email_channel(channel, secrets.password, std::move(executor), clock);
  if (channel.kind == "webhook") {
    return make_webhook_channel(channel, {secrets.webhook_secret, secrets.webhook_sign_secret}, std::move(executor),
                                clock);
  }
  if (channel.kind == "program") {
    const auto log = [name = channel.name](bool warning, std::string_view line) {
      if (warning) return log::warning("{}: {}", name, line);
      log::info("{}: {}", name, line);
    };
    return make_program_channel(channel, {secrets.environment, wiring.hidden_environment}, std::move(executor), clock,
                                log);
  }
  if (channel.kind == "telegram") {
    return make_telegram_channel(channel, {secrets.token, secrets.webhook_secret}, std::move(executor), clock);
  }
  return make_irc_channel(channel, {secrets.sasl_password, secrets.server_password}, std::move(executor), clock);
}

std::map<std::string, std::unique_ptr<Agent>> make_agents(const Config& config, const Wiring& wiring,
                                                          const std::shared_ptr<ChildHandover>& children,
                                                          asio::any_io_executor executor) {
  std::map<std::string, std::unique_ptr<Agent>> agents;
  for (const auto& [name, agent] : config.agents) agents[name] = make_agent(agent, wiring, children, executor);
  return agents;
}

std::vector<std::unique_ptr<Channel>> make_channels(const Config& config, const Wiring& wiring,
                                                    asio::any_io_executor executor, const WallClock& clock) {
  std::vector<std::unique_ptr<Channel>> channels;
  for (const auto& [name, channel] : config.channels)
    channels.push_back(make_channel(channel, wiring, executor, clock));
  return channels;
}

}  // namespace talaria
