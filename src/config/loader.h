#pragma once
// The walk over a parsed file: tables, named tables, keys; then what only the whole can tell.

#include <string>
#include <string_view>

#include "config/loading.h"
#include "config/schema.h"
#include "config/toml_tree.h"

namespace talaria {

class Loader {
 public:
  explicit Loader(std::string file) : file_(std::move(file)) {}
  [[nodiscard]] LoadOutcome run(const TomlNode& root);

 private:
  // One [agent.NAME] or [channel.NAME], or one of the tables that exist once.
  struct Section {
    std::string_view table;  // "agent.*", "gateway"
    std::string path;        // "agent.default", "gateway"
    Place place;
    std::string_view kind;  // empty: none, missing or unknown
  };

  void read_root_entry(const TomlEntry& entry);
  void read_named(const TomlEntry& entry, std::string_view table);
  void read_instance(const TomlEntry& entry, std::string_view table, const std::string& path);
  void read_section(const TomlEntry& entry, const Section& section);
  void read_key(const TomlEntry& entry, const Section& section);
  void require_keys(const TomlEntry& entry, const Section& section);
  [[nodiscard]] std::string_view find_kind(const TomlEntry& entry, std::string_view table, const std::string& path);
  [[nodiscard]] std::string unknown_key(std::string_view key, const Section& section) const;

  void check_api();
  void check_agents();
  void check_channel(ChannelConfig& channel);
  void check_email(ChannelConfig& channel, const std::string& path);
  void check_irc(ChannelConfig& channel);
  void check_webhook(const ChannelConfig& channel);
  void check_program(const ChannelConfig& channel);
  void check_agent_exists(const ChannelConfig& channel);
  void check_rules(const ChannelConfig& channel);
  void check_telegram(const ChannelConfig& channel);
  // Two keys that are of use together only.
  void need_each_other(const std::string& path, std::string_view one, std::string_view needs_one,
                       std::string_view other, std::string_view needs_other);

  [[nodiscard]] bool is_wrong(std::string_view key) const;

  struct Position {
    int line = 0;
    int column = 0;
  };
  void mistake(int line, int column, std::string key, std::string message);
  // At the value of the key where it is given, else at the table it is missing from.
  void mistake_at_key(const std::string& path, std::string_view name, std::string message);

  std::string file_;
  LoadOutcome outcome_;
  std::map<std::string, Position> positions_;  // of tables and of keys' values
};

}  // namespace talaria
