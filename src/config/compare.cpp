#include "config/compare.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/schema.h"

namespace talaria {
namespace {

// Keys that are read once, when a gateway starts.
constexpr std::string_view read_once[] = {"store.url"};

// Names of the keys of `table` whose values differ. A value is compared as it is written.
std::vector<std::string> differing(std::string_view table, const Place& before, const Place& after) {
  std::vector<std::string> names;
  for (const Field& field : all_fields()) {
    if (field.table == table && render_toml(field.slot(before)) != render_toml(field.slot(after)))
      names.emplace_back(field.name);
  }
  return names;
}

// Agents or channels: `place` makes the place of one.
template <class T>
void compare_named(std::string_view noun, std::map<std::string, T>& before, std::map<std::string, T>& after,
                   Place (*place)(T&), std::string_view harmless, ConfigChanges::Named& named,
                   std::vector<std::string>& keys) {
  const std::string table = fmt::format("{}.*", noun);
  for (auto& [name, was] : before) {
    const auto is = after.find(name);
    if (is == after.end()) {
      named.gone.push_back(name);
      keys.push_back(fmt::format("{}.{} (gone)", noun, name));
      continue;
    }
    const auto names = differing(table, place(was), place(is->second));
    for (const std::string& key : names) keys.push_back(fmt::format("{}.{}.{}", noun, name, key));
    if (std::ranges::any_of(names, [&](const std::string& key) { return key != harmless; }))
      named.changed.push_back(name);
  }
  for (const auto& [name, is] : after) {
    if (before.contains(name)) continue;
    named.added.push_back(name);
    keys.push_back(fmt::format("{}.{} (new)", noun, name));
  }
}

}  // namespace

ConfigChanges compare_configs(const Config& was, const Config& is) {
  Config before = was;  // slots point to what may be written
  Config after = is;
  ConfigChanges changes;
  for (const std::string_view table : {"gateway", "store", "api"}) {
    for (const std::string& name : differing(table, {&before, nullptr, nullptr}, {&after, nullptr, nullptr}))
      changes.keys.push_back(fmt::format("{}.{}", table, name));
  }
  for (const std::string& key : changes.keys) {
    if (std::ranges::find(read_once, key) != std::ranges::end(read_once)) changes.need_restart.push_back(key);
  }
  compare_named<AgentConfig>(
      "agent", before.agents, after.agents, [](AgentConfig& agent) { return Place{nullptr, &agent, nullptr}; }, "",
      changes.agents, changes.keys);
  // Who answers in a channel is looked up for each message: nobody has to be disconnected for that.
  compare_named<ChannelConfig>(
      "channel", before.channels, after.channels,
      [](ChannelConfig& channel) { return Place{nullptr, nullptr, &channel}; }, "agent", changes.channels,
      changes.keys);
  return changes;
}

}  // namespace talaria
