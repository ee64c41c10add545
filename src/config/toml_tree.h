#pragma once
// A TOML document as plain values that know where they stand. toml++ is seen by toml_tree.cpp alone: its header takes
// seconds to compile, and a tree of our own can be kept, sorted and walked in the order of the file.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace talaria {

struct TomlEntry;

struct TomlNode {
  enum class Kind { table, array, string, integer, number, boolean, date };
  Kind kind = Kind::table;
  int line = 0;    // 1-based, where the value begins
  int column = 0;  // 1-based, in code points
  std::string text;
  std::int64_t integer = 0;
  double number = 0;  // may be infinite or not a number
  bool boolean = false;
  std::vector<TomlNode> items;     // of an array
  std::vector<TomlEntry> entries;  // of a table, in the order of the file
};

struct TomlEntry {
  std::string key;
  int line = 0;  // where the key stands
  int column = 0;
  TomlNode value;
};

// "a table", "a string", … for messages.
[[nodiscard]] std::string_view describe(TomlNode::Kind kind);

struct TomlError {
  int line = 0;
  int column = 0;
  std::string message;  // never quotes a value: it may be a secret
};

// Values and keys nested deeper than 16 are refused: the parser and its tree are recursive, and input must not choose
// how much stack we use.
[[nodiscard]] std::expected<TomlNode, TomlError> parse_toml(std::string_view text);

}  // namespace talaria
