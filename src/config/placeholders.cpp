#include "config/placeholders.h"

#include <fmt/format.h>

#include "base/text.h"

namespace talaria {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool is_part(std::string_view part) {
  if (part.empty()) return false;
  for (const char c : part) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F || c == '{' || c == '}') return false;
  }
  return true;
}

Result<std::vector<std::string>> parse_path(std::string_view text) {
  std::vector<std::string> path;
  for (std::string_view rest = text;;) {
    const auto stop = rest.find('.');
    const std::string_view part = rest.substr(0, stop);
    if (!is_part(part) || path.size() == max_path_depth) {
      return fail(ErrorKind::invalid,
                  fmt::format("\"{{{{ {} }}}}\" is no path; write for example {{{{ repository.full_name }}}}",
                              printable(truncate_utf8(text, 80))));
    }
    path.emplace_back(part);
    if (stop == std::string_view::npos) break;
    rest.remove_prefix(stop + 1);
  }
  if (path[0].starts_with('@') && (path.size() > 1 || (path[0] != "@event" && path[0] != "@id"))) {
    return fail(ErrorKind::invalid,
                fmt::format("{{{{ {} }}}} is not known; there is @event and @id", printable(truncate_utf8(text, 80))));
  }
  return path;
}

}  // namespace

Result<std::vector<TextPiece>> parse_placeholders(std::string_view text) {
  std::vector<TextPiece> pieces;
  std::size_t places = 0;
  while (!text.empty()) {
    const auto open = text.find("{{");
    if (open != 0) pieces.push_back({std::string(text.substr(0, open)), {}});
    if (open == std::string_view::npos) break;
    text.remove_prefix(open + 2);
    const auto close = text.find("}}");
    if (close == std::string_view::npos) {
      return fail(ErrorKind::invalid, "it has \"{{\" without \"}}\"; write for example {{ issue.title }}");
    }
    if (++places > max_placeholders)
      return fail(ErrorKind::invalid, fmt::format("it has more than {} places to fill", max_placeholders));
    auto path = parse_path(trim(text.substr(0, close)));
    if (!path) return std::unexpected(path.error());
    pieces.push_back({{}, std::move(*path)});
    text.remove_prefix(close + 2);
  }
  return pieces;
}

}  // namespace talaria
