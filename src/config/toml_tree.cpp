#include "config/toml_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "config/toml_depth.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 16
#include <toml++/toml.h>

namespace talaria {
namespace {

constexpr int max_key_depth = 16;

int number_of(toml::source_index index) { return static_cast<int>(index); }

TomlNode convert(const toml::node& node);

void convert_table(const toml::table& table, TomlNode& out) {
  for (const auto& [key, value] : table) {
    const toml::source_position at = key.source().begin;
    out.entries.push_back({std::string(key.str()), number_of(at.line), number_of(at.column), convert(value)});
  }
  // toml++ sorts by name; people read by line.
  std::ranges::sort(out.entries, {},
                    [](const TomlEntry& entry) { return std::tie(entry.line, entry.column, entry.key); });
}

TomlNode convert(const toml::node& node) {
  TomlNode out;
  out.line = number_of(node.source().begin.line);
  out.column = number_of(node.source().begin.column);
  switch (node.type()) {
    case toml::node_type::table:
      out.kind = TomlNode::Kind::table;
      convert_table(*node.as_table(), out);
      break;
    case toml::node_type::array:
      out.kind = TomlNode::Kind::array;
      for (const toml::node& item : *node.as_array()) out.items.push_back(convert(item));
      break;
    case toml::node_type::string:
      out.kind = TomlNode::Kind::string;
      out.text = node.as_string()->get();
      break;
    case toml::node_type::integer:
      out.kind = TomlNode::Kind::integer;
      out.integer = node.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      out.kind = TomlNode::Kind::number;
      out.number = node.as_floating_point()->get();
      break;
    case toml::node_type::boolean:
      out.kind = TomlNode::Kind::boolean;
      out.boolean = node.as_boolean()->get();
      break;
    case toml::node_type::none:
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time: out.kind = TomlNode::Kind::date; break;
  }
  return out;
}

}  // namespace

std::string_view describe(TomlNode::Kind kind) {
  switch (kind) {
    case TomlNode::Kind::table: return "a table";
    case TomlNode::Kind::array: return "an array";
    case TomlNode::Kind::string: return "a string";
    case TomlNode::Kind::integer: return "an integer";
    case TomlNode::Kind::number: return "a number with a fraction";
    case TomlNode::Kind::boolean: return "true or false";
    case TomlNode::Kind::date: return "a date or time";
  }
  return "a value";
}

std::expected<TomlNode, TomlError> parse_toml(std::string_view text) {
  if (const auto deep = find_deep_key(text, max_key_depth)) {
    return std::unexpected(
        TomlError{deep->line, deep->column, fmt::format("a key with more than {} parts", max_key_depth)});
  }
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    const toml::parse_error& error = result.error();
    return std::unexpected(TomlError{number_of(error.source().begin.line), number_of(error.source().begin.column),
                                     std::string(error.description())});
  }
  return convert(result.table());
}

}  // namespace talaria
