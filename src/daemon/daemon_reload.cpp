// Reload: a new configuration for the running gateway, all of it or nothing.
//
// First everything is looked at that could go wrong: the file, the secrets, the keys that can't change under a running
// gateway, the new address. Then everything is applied in one turn of the event loop, so nobody ever sees half of a
// configuration. Only what takes time comes after that: channels that leave, and those that start when their
// predecessors are gone.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/daemon.h"
#include "daemon/reload_report.h"
#include "process/identity.h"
#include "runtime/log.h"

namespace talaria {
namespace json = boost::json;
namespace {

// Channels that leave finish what they are sending.
constexpr Millis settle_time{20'000};
// Another reload: it takes as long as channels take to leave.
constexpr Millis queue_time{45'000};

json::array names(const std::vector<std::string>& list) {
  json::array array;
  for (const std::string& name : list) array.emplace_back(name);
  return array;
}

int line_of(const LoadOutcome& loaded, const std::string& key) {
  const auto found = loaded.lines.find(key);
  return found == loaded.lines.end() ? 0 : found->second;
}

void add_once(std::vector<std::string>& list, const std::string& name) {
  if (std::ranges::find(list, name) == list.end()) list.push_back(name);
}

// A secret that is another one behind the same reference is a change, too.
void compare_secrets(const Wiring& before, const Wiring& after, const Config& config, ConfigChanges& changes) {
  if (before.api_keys != after.api_keys && std::ranges::find(changes.keys, "api.keys") == changes.keys.end())
    changes.keys.emplace_back("api.keys (secret)");
  for (const auto& [name, agent] : config.agents) {
    if (std::ranges::find(changes.agents.added, name) != changes.agents.added.end()) continue;
    const auto key = [&](const Wiring& wiring) {
      const auto found = wiring.agent_keys.find(name);
      return found == wiring.agent_keys.end() ? std::string() : found->second;
    };
    const bool other_key = key(before) != key(after);
    // What a command must not inherit is part of it.
    const bool other_environment = agent.kind == "command" && before.hidden_environment != after.hidden_environment;
    if (!other_key && !other_environment) continue;
    const auto known = changes.agents.changed.size();
    add_once(changes.agents.changed, name);
    if (other_key && changes.agents.changed.size() > known)
      changes.keys.push_back(fmt::format("agent.{} (secret)", name));
  }
  for (const auto& [name, secrets] : after.channel_secrets) {
    const auto was = before.channel_secrets.find(name);
    if (was == before.channel_secrets.end() || was->second == secrets) continue;
    const auto known = changes.channels.changed.size();
    add_once(changes.channels.changed, name);
    if (changes.channels.changed.size() > known) changes.keys.push_back(fmt::format("channel.{} (secret)", name));
  }
}

}  // namespace

Daemon::Candidate Daemon::read_candidate() {
  const std::string& file = options_.paths.config_file;
  Candidate candidate{.loaded = load_config_file(file), .wiring = {}, .changes = {}, .listener = {}};
  LoadOutcome& loaded = candidate.loaded;
  if (!loaded.ok()) return candidate;
  candidate.wiring = resolve_secrets(loaded, file, SecretsFor::running);
  candidate.changes = compare_configs(config_, loaded.config);
  for (const std::string& key : candidate.changes.need_restart) {
    loaded.diagnostics.push_back(
        {file, line_of(loaded, key), 1, key, "can't change while the gateway runs: it needs a restart"});
  }
  if (loaded.config.api.listen != config_.api.listen && !loaded.config.api.listen.empty() && loaded.ok()) {
    const auto endpoint = parse_endpoint(loaded.config.api.listen);
    auto listener = endpoint ? listen_beside(*endpoint, api_server_ ? api_server_->listener() : -1)
                             : Result<Listener>(std::unexpected(endpoint.error()));
    if (listener) {
      candidate.listener = std::move(*listener);
    } else {
      loaded.diagnostics.push_back({file, line_of(loaded, "api.listen"), 1, "api.listen", listener.error().what});
    }
  }
  compare_secrets(wiring_, candidate.wiring, loaded.config, candidate.changes);
  return candidate;
}

// What has changed, or every mistake. Doesn't wait for anything.
std::expected<std::vector<std::string>, std::vector<Diagnostic>> Daemon::change_configuration(const std::string& by) {
  notifier_.reloading();
  Candidate candidate = read_candidate();
  reloads_.mistakes.clear();
  for (const Diagnostic& mistake : candidate.loaded.diagnostics) reloads_.mistakes.push_back(to_string(mistake));
  if (!reloads_.mistakes.empty()) {
    reloads_.refused_at = clock_.now();
    log::error("the configuration is wrong, so the one before stays (reload by {})", by);
    for (const std::string& mistake : reloads_.mistakes) log::error("{}", mistake);
    life_.enter_running(running_words());
    return std::unexpected(std::move(candidate.loaded.diagnostics));
  }
  auto changed = candidate.changes.keys;
  apply(std::move(candidate));
  reloads_.applied_at = clock_.now();
  log::info("reloaded by {}: {}", by,
            changed.empty() ? "nothing has changed" : fmt::format("{}", fmt::join(changed, ", ")));
  life_.enter_running(running_words());
  return changed;
}

void Daemon::apply(Candidate candidate) {
  const bool moves = candidate.loaded.config.api.listen != config_.api.listen;
  config_ = std::move(candidate.loaded.config);
  wiring_ = std::move(candidate.wiring);
  api_router_.configure(KeyRing(wiring_.api_keys), !config_.api.allow_public);
  if (api_server_) api_server_->set_limits(api_limits());
  if (moves) move_api(std::move(candidate.listener));

  Gateway::Change change;
  const ConfigChanges& changes = candidate.changes;
  change.agents_gone = changes.agents.gone;
  change.channels_gone = changes.channels.gone;
  for (const auto* list : {&changes.agents.added, &changes.agents.changed}) {
    for (const std::string& name : *list)
      change.agents[name] = make_agent(config_.agents.at(name), wiring_, children_, executor_);
  }
  for (const auto* list : {&changes.channels.added, &changes.channels.changed}) {
    for (const std::string& name : *list)
      change.channels.push_back(make_channel(config_.channels.at(name), wiring_, executor_, clock_));
  }
  gateway_->reconfigure(std::move(change));
}

// The new listener accepts before the old one is closed.
void Daemon::move_api(std::optional<Listener> listener) {
  const std::string before = std::exchange(api_address_, listener ? to_string(listener->endpoint) : std::string());
  if (!api_server_) make_api_server();
  if (auto kept = listeners_.replace("api", listener ? listener->fd.get() : -1, true); !kept)
    log::warning("{}", kept.error().what);
  if (auto moved = api_server_->move_to(listener ? std::move(listener->fd) : UniqueFd()); !moved)
    log::error("API: {}", moved.error().what);
  if (before.starts_with("unix:")) ::unlink(before.substr(5).c_str());
}

HttpServerLimits Daemon::api_limits() const {
  HttpServerLimits limits;
  limits.connections = static_cast<std::size_t>(config_.api.max_connections);
  limits.body_bytes = static_cast<std::size_t>(config_.api.max_body);
  return limits;
}

void Daemon::make_api_server() {
  api_server_.emplace(
      executor_, api_limits(),
      [this](HttpRequest request, HttpExchange& exchange) { return api_router_.handle(std::move(request), exchange); },
      [](std::string_view what) { log::error("API: internal error: {}", what); });
}

// ---- Asked for
// ---------------------------------------------------------------------------------------------------------------

Task<HttpResponse> Daemon::reload(std::string by) {
  const Deadline patience = Deadline::in(queue_time);
  while (reloads_.running && !end_.asked()) {
    if (!co_await reload_done_.wait(patience))
      co_return problem(503, "reloading", "another reload is still waiting for channels to leave; ask again");
  }
  if (end_.asked())
    co_return problem(409, "ending", "the gateway is ending; its successor reads the configuration anew");
  if (life_.state() != LifeState::running) {
    co_return problem(
        503, "not running yet",
        fmt::format("the gateway is {} ({}); reload it when it runs, or restart it: it has nothing to lose",
                    to_string(life_.state()), life_.detail()));
  }
  struct Running {
    Daemon& daemon;
    explicit Running(Daemon& d) : daemon(d) { daemon.reloads_.running = true; }
    ~Running() {
      daemon.reloads_.running = false;
      daemon.reload_done_.pulse();
    }
  } running(*this);
  reloads_.wanted = false;
  const auto changed = change_configuration(by);
  if (!changed) co_return describe_mistakes(changed.error());
  const bool settled = co_await gateway_->settled(Deadline::in(settle_time));
  co_return json_response(json::object{{"ok", true}, {"changed", names(*changed)}, {"settled", settled}});
}

void Daemon::reload_for_hangup(int sender_pid) {
  if (end_.asked()) return;
  if (life_.state() == LifeState::standby) return reread_in_standby();
  if (life_.state() != LifeState::running || reloads_.running) {
    reloads_.wanted = true;  // when it runs; or once more, since the file may have changed after it was read
    if (life_.state() == LifeState::running) {
      tasks_.spawn("reload", [](Daemon& self) -> Task<> {
        while (self.reloads_.running) co_await self.reload_done_.wait();
        if (self.reloads_.wanted) self.reload_for_hangup(0);
      }(*this));
    }
    return;
  }
  std::string by = "SIGHUP";
  if (const auto facts = facts_of(sender_pid); sender_pid > 0 && facts)
    by += fmt::format(" of PID {} ({})", sender_pid, facts->command_line.empty() ? facts->comm : facts->command_line);
  tasks_.spawn("reload", [](Daemon& self, std::string by) -> Task<> {
    (void)co_await self.reload(std::move(by));
  }(*this, std::move(by)));
}

// Nothing was made of the configuration yet.
void Daemon::reread_in_standby() {
  LoadOutcome loaded = load_config_file(options_.paths.config_file);
  Wiring wiring;
  if (loaded.ok()) wiring = resolve_secrets(loaded, options_.paths.config_file, SecretsFor::running);
  if (!loaded.ok()) {
    log::error("the configuration is wrong, so the one that was read at the start stays");
    for (const Diagnostic& mistake : loaded.diagnostics) log::error("{}", to_string(mistake));
    return;
  }
  config_ = std::move(loaded.config);
  wiring_ = std::move(wiring);
  api_router_.configure(KeyRing(wiring_.api_keys), !config_.api.allow_public);
}

// ---- Told
// --------------------------------------------------------------------------------------------------------------------

std::string Daemon::running_words() const {
  std::string words = api_address_.empty() ? std::string("running") : fmt::format("running, API on {}", api_address_);
  if (!reloads_.mistakes.empty()) words += "; the last reload was refused";
  return words;
}

json::array Daemon::warnings() const {
  json::array all;
  if (!reloads_.mistakes.empty()) {
    all.emplace_back(fmt::format("the configuration was changed and not applied (reload at {}): {}",
                                 format_rfc3339(reloads_.refused_at), fmt::join(reloads_.mistakes, "; ")));
  }
  if (!gateway_) return all;
  for (const auto& [channel, replies] : gateway_->stranded_replies()) {
    all.emplace_back(
        fmt::format("{} replies wait for channel \"{}\", which is not configured; `talaria outbox list` shows "
                    "them",
                    replies, channel));
  }
  return all;
}

}  // namespace talaria
