#include "api/exposition.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace talaria {
namespace {

// A line feed would end the line, a backslash begins an escape; a quote ends the value of a label and is plain in a
// help text.
void append_escaped(std::string& out, std::string_view text, bool in_quotes) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (c == '"' && in_quotes)) {
      out += '\\';
      out += c;
    } else {
      out += c;
    }
  }
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

}  // namespace

void Exposition::add(Kind kind, std::string_view name, std::string_view help, double value, Labels labels) {
  if (family_ != name) {
    family_ = name;
    fmt::format_to(std::back_inserter(text_), "# HELP {} ", name);
    append_escaped(text_, help, false);
    fmt::format_to(std::back_inserter(text_), "\n# TYPE {} {}\n", name, kind == Kind::counter ? "counter" : "gauge");
  }
  text_ += name;
  char separator = '{';
  for (const auto& [label, content] : labels) {
    text_ += separator;
    text_ += label;
    text_ += "=\"";
    append_escaped(text_, content, true);
    text_ += '"';
    separator = ',';
  }
  if (labels.size() != 0) text_ += '}';
  fmt::format_to(std::back_inserter(text_), " {}\n", number(value));
}

}  // namespace talaria
