#pragma once
// The table of every key: name, where its value goes, bounds, and what it does. Loading, `config get`, `config explain`
// and a test of the documentation read it. A key's type is the type of the member it is stored in, and its default is
// the value that member is born with, so neither can be written down twice and differ.

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/checks.h"
#include "config/config.h"

namespace talaria {

// The structs that one line of the table may point into; for "gateway.…" agent and channel are not looked at.
struct Place {
  Config* config;
  AgentConfig* agent;
  ChannelConfig* channel;
};

// Where a value is stored. IrcConfig*: "host:port", stored in two members.
using Slot = std::variant<bool*, int*, std::int64_t*, double*, Millis*, std::optional<Millis>*, std::string*,
                          std::vector<std::string>*, std::optional<SecretRef>*, std::vector<SecretRef>*,
                          std::map<std::string, SecretRef>*, IrcConfig*, ServerAddress*>;

struct Field {
  std::string_view table{};  // "gateway", "agent.*", "channel.*"
  std::string_view name{};   // "drain_timeout"
  std::string_view kinds{};  // "openai command": kinds of agent or channel that have this key; empty: all
  bool required = false;
  double least = 0;  // numbers; durations in milliseconds; both inclusive
  double most = 0;
  Complaint (*check)(std::string_view) = nullptr;  // of a text, or of each element of a list of texts
  std::string_view otherwise{};  // what holds when the key is not given, where the default value alone doesn't tell
  std::string_view example{};    // a TOML value
  std::string_view doc{};        // whole sentences
  Slot (*slot)(const Place&) = nullptr;
};

[[nodiscard]] std::span<const Field> all_fields();

// The kinds of "agent.*" or "channel.*", in the order to show them.
[[nodiscard]] std::span<const std::string_view> kinds_of(std::string_view table);
// Whether a kind (openai) has the field.
[[nodiscard]] bool applies_to(const Field& field, std::string_view kind);

// A key as people write it, "agent.default.model", found in the table. `instance` is "default"; for "agent.NAME.model"
// and "agent.*.model" it is that, too: such a key has a meaning, but no value.
struct KeyPath {
  const Field* field = nullptr;
  std::string instance;  // empty: "gateway.…" and the like
};
// invalid: no such key; the message suggests one.
[[nodiscard]] Result<KeyPath> find_key(std::string_view key);

// "a duration", "an integer", "a list of texts", …
[[nodiscard]] std::string_view type_name(const Slot& slot);
// The value as TOML, `"30s"`; empty when an optional value is not given. Secrets are references.
[[nodiscard]] std::string render_toml(const Slot& slot);
// The value for a script: no quotes, one line per element of a list.
[[nodiscard]] std::string render_plain(const Slot& slot);
// The default as TOML or in words ("the nick").
[[nodiscard]] std::string render_default(const Field& field);
// "1 to 10000", "10ms to 1d"; empty: no bounds.
[[nodiscard]] std::string render_bounds(const Field& field);

// The value of a key in a configuration; none when it has no such agent or channel.
[[nodiscard]] std::optional<Slot> slot_of(Config& config, const KeyPath& key);

}  // namespace talaria
