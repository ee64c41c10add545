#include "config/loader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <tuple>

#include "base/text.h"
#include "config/value_reader.h"

namespace talaria {
namespace {

constexpr std::array<std::string_view, 5> tables{"gateway", "store", "api", "agent", "channel"};

std::string shown(std::string_view text) { return printable(truncate_utf8(text, 64)); }

std::string guess(std::string_view word, std::span<const std::string_view> candidates, std::string_view quote = "") {
  if (const auto near = nearest(word, candidates)) return fmt::format("did you mean {}{}{}?", quote, *near, quote);
  return fmt::format("there is {}", fmt::join(candidates, ", "));
}

}  // namespace

LoadOutcome Loader::run(const TomlNode& root) {
  for (const TomlEntry& entry : root.entries) read_root_entry(entry);
  check_api();
  check_agents();
  for (auto& [name, channel] : outcome_.config.channels) check_channel(channel);
  std::ranges::sort(outcome_.diagnostics, {}, [](const Diagnostic& diagnostic) {
    const int line = diagnostic.line == 0 ? std::numeric_limits<int>::max() : diagnostic.line;
    return std::tuple<int, int, const std::string&, const std::string&>(line, diagnostic.column, diagnostic.key,
                                                                        diagnostic.message);
  });
  return std::move(outcome_);
}

void Loader::read_root_entry(const TomlEntry& entry) {
  if (std::ranges::find(tables, entry.key) == tables.end()) {
    const bool table = entry.value.kind == TomlNode::Kind::table || entry.value.kind == TomlNode::Kind::array;
    mistake(entry.line, entry.column, shown(entry.key),
            fmt::format("unknown {}; {}", table ? "table" : "key outside of any table", guess(entry.key, tables)));
    return;
  }
  if (entry.value.kind != TomlNode::Kind::table) {
    const bool named = !kinds_of(entry.key + ".*").empty();
    mistake(entry.line, entry.column, entry.key,
            fmt::format("must be a table, but this is {}; begin it with [{}{}]", describe(entry.value.kind), entry.key,
                        named ? ".NAME" : ""));
    return;
  }
  if (entry.key == "agent") return read_named(entry, "agent.*");
  if (entry.key == "channel") return read_named(entry, "channel.*");
  read_section(entry, {entry.key, entry.key, {&outcome_.config, nullptr, nullptr}, ""});
}

// [agent] and [channel] hold one table for each agent or channel.
void Loader::read_named(const TomlEntry& entry, std::string_view table) {
  for (const TomlEntry& instance : entry.value.entries) {
    const std::string path = fmt::format("{}.{}", entry.key, shown(instance.key));
    if (auto complaint = check_instance_name(instance.key)) {
      mistake(instance.line, instance.column, path, *complaint);
    } else if (instance.value.kind != TomlNode::Kind::table) {
      mistake(
          instance.line, instance.column, path,
          fmt::format("keys of {} stand in a table with a name: begin it with [{}.default], or a name that you choose",
                      entry.key, entry.key));
    } else {
      read_instance(instance, table, path);
    }
  }
}

void Loader::read_instance(const TomlEntry& entry, std::string_view table, const std::string& path) {
  Section section{table, path, {&outcome_.config, nullptr, nullptr}, find_kind(entry, table, path)};
  if (table == "agent.*") {
    section.place.agent = &outcome_.config.agents[entry.key];
    section.place.agent->name = entry.key;
  } else {
    section.place.channel = &outcome_.config.channels[entry.key];
    section.place.channel->name = entry.key;
  }
  read_section(entry, section);
}

// The kind decides which keys there are, so it is looked for first, wherever in the table it stands.
std::string_view Loader::find_kind(const TomlEntry& entry, std::string_view table, const std::string& path) {
  const auto kinds = kinds_of(table);
  const auto given = std::ranges::find(entry.value.entries, "kind", &TomlEntry::key);
  if (given == entry.value.entries.end() || given->value.kind != TomlNode::Kind::string)
    return "";  // reported elsewhere
  const auto known = std::ranges::find(kinds, given->value.text);
  if (known != kinds.end()) return *known;
  mistake(given->value.line, given->value.column, path + ".kind",
          fmt::format("unknown kind \"{}\"; {}", shown(given->value.text), guess(given->value.text, kinds, "\"")));
  return "";
}

void Loader::read_section(const TomlEntry& entry, const Section& section) {
  // A table that is only implied by a dotted key has no header; then the key's position stands for it.
  positions_[section.path] = {entry.line, entry.column};
  for (const TomlEntry& key : entry.value.entries) read_key(key, section);
  require_keys(entry, section);
}

void Loader::read_key(const TomlEntry& entry, const Section& section) {
  const std::string path = fmt::format("{}.{}", section.path, shown(entry.key));
  const auto field = std::ranges::find_if(all_fields(), [&](const Field& candidate) {
    return candidate.table == section.table && candidate.name == entry.key;
  });
  if (field == all_fields().end()) return mistake(entry.line, entry.column, path, unknown_key(entry.key, section));
  positions_[path] = {entry.value.line, entry.value.column};
  outcome_.lines[path] = entry.line;
  if (!section.kind.empty() && !applies_to(*field, section.kind)) {
    return mistake(entry.line, entry.column, path,
                   fmt::format("a key of kind {}; this is of kind {}, which has no use for it: remove it", field->kinds,
                               section.kind));
  }
  read_value(*field, entry.value, field->slot(section.place),
             [&](const TomlNode& at, std::string message) { mistake(at.line, at.column, path, std::move(message)); });
}

std::string Loader::unknown_key(std::string_view key, const Section& section) const {
  std::vector<std::string_view> here;
  std::string elsewhere;
  for (const Field& field : all_fields()) {
    if (field.table == section.table) {
      if (section.kind.empty() || applies_to(field, section.kind)) here.push_back(field.name);
    } else if (field.name == key && elsewhere.empty()) {
      elsewhere = field.table;
    }
  }
  if (!elsewhere.empty() && !nearest(key, here)) {
    if (const std::size_t star = elsewhere.find('*'); star != std::string::npos) elsewhere.replace(star, 1, "NAME");
    return fmt::format("unknown key; {} belongs under [{}]", key, elsewhere);
  }
  return "unknown key; " + guess(key, here);
}

void Loader::require_keys(const TomlEntry& entry, const Section& section) {
  for (const Field& field : all_fields()) {
    if (field.table != section.table || !field.required) continue;
    if (!field.kinds.empty() && (section.kind.empty() || !applies_to(field, section.kind))) continue;
    const bool given = std::ranges::find(entry.value.entries, field.name, &TomlEntry::key) != entry.value.entries.end();
    if (given) continue;
    mistake(entry.line, entry.column, fmt::format("{}.{}", section.path, field.name),
            fmt::format("is missing from [{}]; add for example {} = {}", section.path, field.name, field.example));
  }
}

void Loader::check_api() {
  const ApiConfig& api = outcome_.config.api;
  if (api.listen.empty() || api.allow_public || is_local_listen(api.listen)) return;
  mistake_at_key("api", "listen",
                 fmt::format("{} can be reached from other machines, and the API has no TLS of its own: listen on "
                             "127.0.0.1 behind a proxy, or say "
                             "allow_public = true",
                             api.listen));
}

void Loader::check_agents() {
  for (const auto& [name, agent] : outcome_.config.agents) {
    const std::string path = "agent." + name;
    if (agent.kind != "command" || !outcome_.lines.contains(path + ".command") || is_wrong(path + ".command")) continue;
    if (agent.command.empty() || agent.command.front().empty()) {
      mistake_at_key(path, "command",
                     "names no program; write for example command = [\"/usr/bin/tr\", \"a-z\", \"A-Z\"]");
    }
  }
  if (outcome_.config.agents.empty()) {
    mistake(0, 0, "agent",
            "no agent is configured, so nobody would answer: add [agent.default] with kind = \"echo\" to try things "
            "out, or kind = \"openai\" with "
            "base_url and model");
  }
}

void Loader::check_channel(ChannelConfig& channel) {
  check_agent_exists(channel);
  check_rules(channel);
  if (channel.kind == "irc") check_irc(channel);
  if (channel.kind == "email") check_email(channel, "channel." + channel.name);
  if (channel.kind == "telegram") check_telegram(channel);
  if (channel.kind == "webhook") check_webhook(channel);
  if (channel.kind == "program") check_program(channel);
}

void Loader::check_program(const ChannelConfig& channel) {
  const std::string path = "channel." + channel.name;
  const auto& command = channel.program.command;
  if (!outcome_.lines.contains(path + ".command") || is_wrong(path + ".command")) return;
  if (command.empty() || command.front().empty())
    mistake_at_key(path, "command",
                   "names no program; write for example command = [\"/usr/bin/python3\", \"/opt/chat.py\"]");
}

void Loader::check_rules(const ChannelConfig& channel) {
  const std::string path = "channel." + channel.name;
  const auto check = [&](std::string_view key, const std::vector<std::string>& rules, auto complain) {
    for (const std::string& rule : rules) {
      if (auto complaint = complain(channel.kind, rule); complaint && !is_wrong(fmt::format("{}.{}", path, key)))
        mistake_at_key(path, key, std::move(*complaint));
    }
  };
  check("allow", channel.allow, check_allow_rule);
  check("admins", channel.admins, check_admin_rule);
}

void Loader::need_each_other(const std::string& path, std::string_view one, std::string_view needs_one,
                             std::string_view other, std::string_view needs_other) {
  const bool has_one = outcome_.lines.contains(fmt::format("{}.{}", path, one));
  const bool has_other = outcome_.lines.contains(fmt::format("{}.{}", path, other));
  if (has_one && !has_other) mistake_at_key(path, one, fmt::format("needs {}, {}", other, needs_other));
  if (has_other && !has_one) mistake_at_key(path, other, fmt::format("needs {}, {}", one, needs_one));
}

void Loader::check_telegram(const ChannelConfig& channel) {
  const std::string path = "channel." + channel.name;
  need_each_other(path, "webhook_url", "the address that Telegram posts to", "webhook_secret",
                  "a reference such as \"env:TELEGRAM_WEBHOOK_SECRET\"");
  const std::string_view root = channel.telegram.api_root;
  constexpr std::string_view plain = "http://";
  if (!root.starts_with(plain) || is_wrong(path + ".api_root")) return;
  std::string host(root.substr(plain.size(), root.find('/', plain.size()) - plain.size()));
  if (!host.ends_with(']') && host.find(':', host.find(']') + 1) == std::string::npos) host += ":80";
  if (is_local_listen(host)) return;
  mistake_at_key(path, "api_root", "without TLS the bot's token could be read on its way: write https://");
}

void Loader::check_irc(ChannelConfig& channel) {
  const std::string path = "channel." + channel.name;
  IrcConfig& irc = channel.irc;
  need_each_other(path, "sasl_account", "the account to log in to", "sasl_password",
                  "a reference such as \"env:IRC_PASSWORD\"");
  if (irc.port == 0) irc.port = irc.tls ? 6697 : 6667;
  if (irc.user.empty()) irc.user = irc.nick;
  if (irc.realname.empty()) irc.realname = "Talaria";
}

void Loader::check_email(ChannelConfig& channel, const std::string& path) {
  EmailConfig& email = channel.email;
  for (const auto& [key, tls, server] :
       {std::tuple{"imap_tls", &email.imap_tls, &email.imap}, std::tuple{"smtp_tls", &email.smtp_tls, &email.smtp}}) {
    if (*tls == "none" && !server->host.empty() && !is_loopback_host(server->host)) {
      mistake_at_key(path, key,
                     fmt::format("the password would cross the network to {} in the clear: use \"tls\" or "
                                 "\"starttls\"",
                                 shown(server->host)));
    }
  }
  const bool named = !email.trusted_authserv.empty();
  if (email.verify == "authserv" && !named && !is_wrong(path + ".trusted_authserv")) {
    mistake_at_key(path, "trusted_authserv",
                   "is missing; senders are verified by it: it is the name that your mail server has in the "
                   "Authentication-Results of a mail that it received");
  }
  if (email.verify == "none" && named)
    mistake_at_key(path, "trusted_authserv", "with verify = \"none\" nobody is asked: remove one of the two");
  if (email.imap.port == 0) email.imap.port = email.imap_tls == "tls" ? 993 : 143;
  if (email.smtp.port == 0) email.smtp.port = email.smtp_tls == "tls" ? 465 : email.smtp_tls == "none" ? 25 : 587;
  if (email.login.empty()) email.login = email.address;
  if (email.name.empty()) email.name = "Talaria";
}

void Loader::check_agent_exists(const ChannelConfig& channel) {
  const auto& agents = outcome_.config.agents;
  if (agents.contains(channel.agent) || agents.empty()) return;  // none at all has a message of its own
  std::vector<std::string_view> names;
  for (const auto& [name, agent] : agents) names.push_back(name);
  const std::string path = "channel." + channel.name;
  if (is_wrong(path + ".agent")) return;
  const std::string problem = outcome_.lines.contains(path + ".agent")
                                  ? fmt::format("there is no [agent.{}]", shown(channel.agent))
                                  : std::string("is not given, and there is no [agent.default] that would answer");
  mistake_at_key(path, "agent", fmt::format("{}; {}", problem, guess(channel.agent, names, "\"")));
}

// One mistake is told once: what follows from it is not worth a line.
bool Loader::is_wrong(std::string_view key) const {
  return std::ranges::find(outcome_.diagnostics, key, &Diagnostic::key) != outcome_.diagnostics.end();
}

void Loader::mistake(int line, int column, std::string key, std::string message) {
  outcome_.diagnostics.push_back({file_, line, column, std::move(key), std::move(message)});
}

void Loader::mistake_at_key(const std::string& path, std::string_view name, std::string message) {
  const std::string key = fmt::format("{}.{}", path, name);
  const auto found = positions_.find(positions_.contains(key) ? key : path);
  const Position at = found == positions_.end() ? Position{} : found->second;
  mistake(at.line, at.column, key, std::move(message));
}

}  // namespace talaria
