#include "channel/irc/line_split.h"

#include <fmt/format.h>

#include <algorithm>

#include "channel/irc/message.h"
#include "channel/text_split.h"

namespace talaria::irc {

namespace {

// Control characters mean formatting (0x02), a CTCP (0x01) or the line's end on IRC: none may come out of an answer.
std::string without_controls(std::string_view line) {
  std::string out;
  for (const char c : line) {
    if (c == '\t') {
      out += ' ';
    } else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      out += c;
    }
  }
  return out;
}

// "## Title" → "Title", "**bold**" → "bold" (outside of inline code).
std::string flatten(std::string_view line) {
  const auto marks = line.find_first_not_of('#');
  if (marks != std::string_view::npos && marks >= 1 && marks <= 6 && line[marks] == ' ') line.remove_prefix(marks + 1);
  std::string out;
  bool code = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '`') code = !code;
    // Stars with blanks on both sides are a product, not bold.
    const bool before = i > 0 && line[i - 1] != ' ';
    const bool after = i + 2 < line.size() && line[i + 2] != ' ';
    if (!code && line.substr(i, 2) == "**" && (before || after)) {
      ++i;
    } else {
      out += line[i];
    }
  }
  return out;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace

std::size_t text_room(std::size_t source_bytes, std::string_view target) {
  const std::size_t framing = std::string_view(": PRIVMSG  :\r\n").size() + source_bytes + target.size();
  return framing + 64 < kMaxLine ? kMaxLine - framing : 64;
}

std::vector<std::string> compose_lines(std::string_view markdown, std::string_view prefix, LineLimits limits) {
  limits.bytes = std::max<std::size_t>(limits.bytes, 64);
  limits.lines = std::max<std::size_t>(limits.lines, 2);
  const std::string valid = replace_invalid_utf8(markdown);
  std::string_view rest = valid;
  std::vector<std::string> lines;
  std::string head = without_controls(replace_invalid_utf8(prefix));  // goes before the next line
  if (head.size() > limits.bytes / 2) head.clear();
  std::size_t left_out = 0;
  bool code = false;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto raw = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!code_fence(raw).empty()) {
      code = !code;
      continue;
    }
    std::string line = without_controls(code ? std::string(raw) : flatten(raw));
    if (is_blank(line)) continue;
    for (auto& piece : split_line(std::exchange(head, "") + line, limits.bytes)) {
      if (is_blank(piece)) continue;
      if (lines.size() < limits.lines) {
        lines.push_back(std::move(piece));
      } else {
        ++left_out;
      }
    }
  }
  if (left_out > 0) lines.back() = fmt::format("[… {} more lines left out: too long for IRC]", left_out + 1);
  if (lines.empty()) lines.push_back(head + "(empty message)");
  return lines;
}

}  // namespace talaria::irc
