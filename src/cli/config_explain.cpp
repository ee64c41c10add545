// `talaria config explain [KEY]`: what a key does, its default, and where its present value comes from.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/config_common.h"
#include "cli/table.h"

namespace talaria::cli {
namespace {

// "agent.NAME.model", or with the name that was asked for.
std::string key_text(const Field& field, std::string_view instance = "NAME") {
  if (!field.table.ends_with(".*")) return fmt::format("{}.{}", field.table, field.name);
  return fmt::format("{}.{}.{}", field.table.substr(0, field.table.find('.')), instance, field.name);
}

std::string_view type_of(const Field& field) {
  Config config;
  AgentConfig agent;
  ChannelConfig channel;
  return type_name(field.slot({&config, &agent, &channel}));
}

std::string first_sentence(std::string_view doc) {
  const std::size_t end = doc.find(". ");
  return std::string(end == std::string_view::npos ? doc : doc.substr(0, end + 1));
}

boost::json::object describe_json(const Field& field) {
  const auto text = [](const std::string& value) {
    return value.empty() ? boost::json::value(nullptr) : boost::json::value(value);
  };
  return {{"key", key_text(field)},
          {"type", type_of(field)},
          {"required", field.required},
          {"kinds", text(std::string(field.kinds))},
          {"default", text(render_default(field))},
          {"range", text(render_bounds(field))},
          {"example", field.example},
          {"doc", field.doc}};
}

// The keys that KEY means right now: itself, or for agent.NAME.model one for each agent there is.
std::vector<KeyPath> present_keys(Config& config, const KeyPath& asked) {
  std::vector<KeyPath> keys;
  if (asked.instance != "NAME" && asked.instance != "*") {
    if (slot_of(config, asked)) keys.push_back(asked);
    return keys;
  }
  for (const auto& [name, agent] : config.agents) {
    if (asked.field->table == "agent.*" && applies_to(*asked.field, agent.kind)) keys.push_back({asked.field, name});
  }
  for (const auto& [name, channel] : config.channels) {
    if (asked.field->table == "channel.*" && applies_to(*asked.field, channel.kind))
      keys.push_back({asked.field, name});
  }
  return keys;
}

std::vector<SecretRef> secrets_in(const Slot& slot) {
  if (const auto* one = std::get_if<std::optional<SecretRef>*>(&slot)) {
    return **one ? std::vector{***one} : std::vector<SecretRef>{};
  }
  if (const auto* many = std::get_if<std::vector<SecretRef>*>(&slot)) return **many;
  return {};
}

// Whether a reference leads somewhere depends on who follows it: a unit has an environment and credentials of its own.
void print_secrets(const Slot& slot) {
  for (const SecretRef& ref : secrets_in(slot)) {
    const Result<std::string> secret = resolve_secret(ref);
    fmt::print("           {}\n", secret ? fmt::format("{} can be read from here", to_string(ref))
                                         : fmt::format("not readable from here: {}", secret.error().what));
  }
}

void print_present(LoadedConfig& loaded, const KeyPath& key) {
  const std::string name = key_text(*key.field, key.instance);
  const Slot slot = *slot_of(loaded.outcome.config, key);
  const std::string value = render_toml(slot);
  const bool empty = value.empty() || value == "\"\"" || value == "[]";
  const bool says_nothing = empty && origin_of(loaded, name) == "default";
  fmt::print("Now:       {}\n", says_nothing ? fmt::format("{} is not set: {}", name, key.field->otherwise)
                                             : fmt::format("{} = {}   ({})", name, value, origin_of(loaded, name)));
  print_secrets(slot);
}

void print_now(LoadedConfig& loaded, const KeyPath& asked) {
  if (!loaded.outcome.ok()) {
    const bool absent = loaded.outcome.diagnostics.front().line == 0 && loaded.outcome.lines.empty();
    fmt::print("Now:       {}\n", absent ? to_string(loaded.outcome.diagnostics.front())
                                         : fmt::format("unknown, for {} has mistakes: see `talaria config check`",
                                                       loaded.paths.config_file));
    return;
  }
  const std::vector<KeyPath> keys = present_keys(loaded.outcome.config, asked);
  if (keys.empty()) fmt::print("Now:       {} has none\n", loaded.paths.config_file);
  for (const KeyPath& key : keys) print_present(loaded, key);
}

void print_field(const KeyPath& key) {
  const Field& field = *key.field;
  fmt::print("{}: {}{}\n\n{}\n\n", key_text(field, key.instance), type_of(field), field.required ? ", required" : "",
             field.doc);
  if (!field.kinds.empty()) fmt::print("For kind:  {}\n", field.kinds);
  if (const std::string value = render_default(field); !value.empty()) fmt::print("Default:   {}\n", value);
  if (const std::string bounds = render_bounds(field); !bounds.empty()) fmt::print("Range:     {}\n", bounds);
  fmt::print("Example:   {} = {}\n", field.name, field.example);
}

int explain_key(const Context& context, const KeyPath& key, bool json) {
  Result<LoadedConfig> loaded = load_profile_config(context);
  if (!loaded) return report(loaded.error());
  if (!json) {
    print_field(key);
    print_now(*loaded, key);
    return 0;
  }
  boost::json::object document = describe_json(*key.field);
  boost::json::array now;
  if (loaded->outcome.ok()) {
    for (const KeyPath& present : present_keys(loaded->outcome.config, key)) {
      const std::string name = key_text(*present.field, present.instance);
      boost::json::object item{{"key", name}, {"value", value_to_json(*slot_of(loaded->outcome.config, present))}};
      add_origin(item, *loaded, name);
      now.push_back(std::move(item));
    }
  }
  document["now"] = std::move(now);
  fmt::print("{}\n", boost::json::serialize(document));
  return 0;
}

// All keys, or those of one table ("agent").
int list_keys(std::string_view table, bool json) {
  std::vector<std::vector<std::string>> rows{{"KEY", "TYPE", "DEFAULT", "WHAT IT DOES"}};
  boost::json::array keys;
  for (const Field& field : all_fields()) {
    if (!table.empty() && field.table.substr(0, field.table.find('.')) != table) continue;
    const std::string value = field.required ? "required" : render_default(field);
    rows.push_back({key_text(field), std::string(type_of(field)), value, first_sentence(field.doc)});
    keys.push_back(describe_json(field));
  }
  if (json) {
    fmt::print("{}\n", boost::json::serialize(boost::json::object{{"keys", std::move(keys)}}));
  } else {
    fmt::print("{}", format_table(rows));
  }
  return 0;
}

bool is_table(std::string_view word) {
  return std::ranges::any_of(all_fields(),
                             [&](const Field& field) { return field.table.substr(0, field.table.find('.')) == word; });
}

int explain(const Context& context, const std::string& name, bool json) {
  if (name.empty() || is_table(name)) return list_keys(name, json);
  const Result<KeyPath> key = find_key(name);
  if (!key) return report(key.error());
  return explain_key(context, *key, json);
}

}  // namespace

void add_config_explain(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("explain", "Explain one key, or list all");
  command->footer("Example:\n  talaria config explain agent.default.timeout");
  auto key = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("KEY", *key, "A key (agent.NAME.model means any agent's), or a table (agent)");
  command->add_flag("--json", *json, "Print one JSON document");
  command->callback([&context, key, json] { context.exit_code = explain(context, *key, *json); });
}

}  // namespace talaria::cli
