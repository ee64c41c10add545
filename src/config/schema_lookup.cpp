// Keys as people write them, and values as people read them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include "base/text.h"
#include "config/schema.h"

namespace talaria {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};

// A TOML basic string. JSON's escapes are a subset of TOML's, but for DEL, which TOML wants escaped.
std::string toml_string(std::string_view text) {
  std::string out = boost::json::serialize(boost::json::string(text));
  for (std::size_t at = out.find('\x7F'); at != std::string::npos; at = out.find('\x7F', at))
    out.replace(at, 1, "\\u007f");
  return out;
}

std::string toml_list(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) quoted.push_back(toml_string(item));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::vector<std::string> references(const std::vector<SecretRef>& refs) {
  std::vector<std::string> out;
  for (const SecretRef& ref : refs) out.push_back(to_string(ref));
  return out;
}

std::string toml_table(const std::map<std::string, SecretRef>& refs) {
  std::vector<std::string> entries;
  for (const auto& [name, ref] : refs) entries.push_back(fmt::format("{} = {}", name, toml_string(to_string(ref))));
  return entries.empty() ? "{}" : fmt::format("{{ {} }}", fmt::join(entries, ", "));
}

std::string server_text(const std::string& host, std::uint16_t port) {
  if (host.empty()) return "";
  const bool ipv6 = host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", ipv6 ? "[" : "", host, ipv6 ? "]" : "", port);
}
std::string server_text(const IrcConfig& irc) { return server_text(irc.host, irc.port); }
std::string server_text(const ServerAddress& server) { return server_text(server.host, server.port); }

// "1.0", never "1": a number with a fraction stays one.
std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

Place place_in(Config& config, AgentConfig& agent, ChannelConfig& channel) { return {&config, &agent, &channel}; }

// What a fresh configuration holds there.
std::string born_with(const Field& field, std::string (*render)(const Slot&)) {
  Config config;
  AgentConfig agent;
  ChannelConfig channel;
  return render(field.slot(place_in(config, agent, channel)));
}

bool is_duration(const Slot& slot) {
  return std::holds_alternative<Millis*>(slot) || std::holds_alternative<std::optional<Millis>*>(slot);
}

std::string_view section_of(const Field& field) { return field.table.substr(0, field.table.find('.')); }

std::vector<std::string> every_key() {
  std::vector<std::string> keys;
  for (const Field& field : all_fields()) {
    keys.push_back(field.table.ends_with(".*") ? fmt::format("{}.NAME.{}", section_of(field), field.name)
                                               : fmt::format("{}.{}", field.table, field.name));
  }
  return keys;
}

std::unexpected<Error> no_such_key(std::string_view key, std::string_view instance) {
  std::vector<std::string> keys = every_key();
  for (std::string& known : keys) {
    if (const std::size_t at = known.find("NAME"); at != std::string::npos && !instance.empty())
      known.replace(at, 4, instance);
  }
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::string what = fmt::format("there is no key {}", printable(truncate_utf8(key, 100)));
  const auto same_name =
      std::ranges::find_if(keys, [&](const std::string& known) { return known.ends_with(fmt::format(".{}", key)); });
  if (same_name != keys.end()) {
    what += fmt::format("; did you mean {}?", *same_name);
  } else if (const auto near = nearest(key, views)) {
    what += fmt::format("; did you mean {}?", *near);
  } else {
    what += "; `talaria config explain` lists all";
  }
  return fail(ErrorKind::invalid, what);
}

}  // namespace

bool applies_to(const Field& field, std::string_view kind) {
  std::string_view left = field.kinds;
  if (left.empty()) return true;
  while (!left.empty()) {
    const std::size_t blank = left.find(' ');
    if (left.substr(0, blank) == kind) return true;
    left.remove_prefix(blank == std::string_view::npos ? left.size() : blank + 1);
  }
  return false;
}

Result<KeyPath> find_key(std::string_view key) {
  const std::size_t first = key.find('.');
  const std::size_t last = key.rfind('.');
  if (first == std::string_view::npos) return no_such_key(key, "");
  const std::string_view section = key.substr(0, first);
  const std::string_view name = key.substr(last + 1);
  const std::string_view instance = first == last ? "" : key.substr(first + 1, last - first - 1);
  for (const Field& field : all_fields()) {
    const bool named = field.table.ends_with(".*");
    if (section_of(field) != section || field.name != name || named == instance.empty()) continue;
    return KeyPath{&field, std::string(instance)};
  }
  return no_such_key(key, instance);
}

std::string_view type_name(const Slot& slot) {
  return std::visit(Overloaded{
                        [](bool*) { return "true or false"; },
                        [](int*) { return "an integer"; },
                        [](std::int64_t*) { return "an integer"; },
                        [](double*) { return "a number"; },
                        [](Millis*) { return "a duration"; },
                        [](std::optional<Millis>*) { return "a duration"; },
                        [](std::string*) { return "a string"; },
                        [](std::vector<std::string>*) { return "an array of strings"; },
                        [](std::optional<SecretRef>*) { return "a reference to a secret"; },
                        [](std::vector<SecretRef>*) { return "an array of references to secrets"; },
                        [](std::map<std::string, SecretRef>*) { return "a table of references to secrets"; },
                        [](IrcConfig*) { return "\"HOST:PORT\""; },
                        [](ServerAddress*) { return "\"HOST:PORT\""; },
                    },
                    slot);
}

std::string render_toml(const Slot& slot) {
  return std::visit(
      Overloaded{
          [](bool* value) -> std::string { return *value ? "true" : "false"; },
          [](int* value) { return std::to_string(*value); },
          [](std::int64_t* value) { return std::to_string(*value); },
          [](double* value) { return number_text(*value); },
          [](Millis* value) { return toml_string(format_duration(*value)); },
          [](std::optional<Millis>* value) { return *value ? toml_string(format_duration(**value)) : ""; },
          [](std::string* value) { return toml_string(*value); },
          [](std::vector<std::string>* value) { return toml_list(*value); },
          [](std::optional<SecretRef>* value) { return *value ? toml_string(to_string(**value)) : ""; },
          [](std::vector<SecretRef>* value) { return toml_list(references(*value)); },
          [](std::map<std::string, SecretRef>* value) { return toml_table(*value); },
          [](IrcConfig* value) { return toml_string(server_text(*value)); },
          [](ServerAddress* value) { return value->host.empty() ? "" : toml_string(server_text(*value)); },
      },
      slot);
}

std::string render_plain(const Slot& slot) {
  return std::visit(
      Overloaded{
          [&](auto*) { return render_toml(slot); },
          [](Millis* value) { return format_duration(*value); },
          [](std::optional<Millis>* value) { return *value ? format_duration(**value) : ""; },
          [](std::string* value) { return *value; },
          [](std::vector<std::string>* value) { return fmt::format("{}", fmt::join(*value, "\n")); },
          [](std::optional<SecretRef>* value) { return *value ? to_string(**value) : ""; },
          [](std::vector<SecretRef>* value) { return fmt::format("{}", fmt::join(references(*value), "\n")); },
          [](IrcConfig* value) { return server_text(*value); },
          [](ServerAddress* value) { return server_text(*value); },
      },
      slot);
}

std::string render_default(const Field& field) {
  if (field.required) return field.otherwise.empty() ? "" : std::string(field.otherwise);
  if (!field.otherwise.empty()) return std::string(field.otherwise);
  return born_with(field, render_toml);
}

std::string render_bounds(const Field& field) {
  if (field.least >= field.most) return "";
  Config config;
  AgentConfig agent;
  ChannelConfig channel;
  if (is_duration(field.slot(place_in(config, agent, channel)))) {
    return fmt::format("{} to {}", format_duration(Millis(static_cast<std::int64_t>(field.least))),
                       format_duration(Millis(static_cast<std::int64_t>(field.most))));
  }
  return fmt::format("{} to {}", field.least, field.most);
}

std::optional<Slot> slot_of(Config& config, const KeyPath& key) {
  AgentConfig* agent = nullptr;
  ChannelConfig* channel = nullptr;
  if (key.field->table == "agent.*") {
    const auto found = config.agents.find(key.instance);
    if (found == config.agents.end()) return std::nullopt;
    agent = &found->second;
  } else if (key.field->table == "channel.*") {
    const auto found = config.channels.find(key.instance);
    if (found == config.channels.end()) return std::nullopt;
    channel = &found->second;
  }
  return key.field->slot({&config, agent, channel});
}

}  // namespace talaria
