// `talaria config get KEY`: the value in force, for scripts. Secrets are shown as references.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/config_common.h"

namespace talaria::cli {
namespace {

Error no_such_instance(Config& config, const KeyPath& key) {
  std::vector<std::string> names;
  for (const auto& [name, agent] : config.agents) {
    if (key.field->table == "agent.*") names.push_back(name);
  }
  for (const auto& [name, channel] : config.channels) {
    if (key.field->table == "channel.*") names.push_back(name);
  }
  const std::string_view noun = key.field->table.substr(0, key.field->table.find('.'));
  const std::string there = names.empty() ? "there is none" : fmt::format("there is {}", fmt::join(names, ", "));
  return Error{ErrorKind::not_found, fmt::format("no {} is named \"{}\"; {}", noun, key.instance, there)};
}

int get(const Context& context, const std::string& name, bool json) {
  const Result<KeyPath> key = find_key(name);
  if (!key) return report(key.error());
  Result<LoadedConfig> loaded = load_profile_config(context);
  if (!loaded) return report(loaded.error());
  if (!loaded->outcome.ok()) return refuse_config(loaded->outcome);
  const std::optional<Slot> slot = slot_of(loaded->outcome.config, *key);
  if (!slot) return report(no_such_instance(loaded->outcome.config, *key));
  if (json) {
    boost::json::object document{{"key", name}, {"value", value_to_json(*slot)}};
    add_origin(document, *loaded, name);
    fmt::print("{}\n", boost::json::serialize(document));
  } else if (const std::string text = render_plain(*slot); !text.empty()) {
    fmt::print("{}\n", text);
  }
  return 0;
}

}  // namespace

void add_config_get(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("get", "Print the value in force of one key");
  command->footer(
      "Example:\n  talaria config get gateway.drain_timeout\n\nPrints nothing for a key that is not set and has no "
      "default. Secrets are "
      "printed as references.");
  auto key = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("KEY", *key, "The key, for example agent.default.model")->required();
  command->add_flag("--json", *json, "Print one JSON document, with where the value comes from");
  command->callback([&context, key, json] { context.exit_code = get(context, *key, *json); });
}

}  // namespace talaria::cli
