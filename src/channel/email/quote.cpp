#include "channel/email/quote.h"

#include <algorithm>
#include <vector>

#include "channel/email/codec.h"

namespace talaria::mail {
namespace {

using LinesOfText = std::vector<std::string_view>;

bool is_quote(std::string_view line) { return line.starts_with('>'); }
bool is_blank(std::string_view line) { return trim(line).empty(); }

// "On Mon, 2 Mar 2026 at 10:00, Alice <alice@example.org> wrote:", in some languages; or any line that ends in a colon
// and holds an address.
bool is_attribution(std::string_view line) {
  line = trim(line);
  if (line.size() > 300 || !line.ends_with(':')) return false;
  if (line.find('@') != line.npos) return true;
  const std::string small = lower(line);
  constexpr std::string_view ends[] = {" wrote:", " schrieb:", " a écrit :", " escribió:", " ha scritto:", " schreef:"};
  return (small.starts_with("am ") && small.find(" schrieb ") != small.npos) ||
         std::ranges::any_of(ends, [&](std::string_view end) { return small.ends_with(end); });
}

// Programs that put the whole mail below without marks.
bool is_separator(const LinesOfText& lines, std::size_t at) {
  const std::string small = lower(trim(lines[at]));
  if (small.starts_with("-----original message") || small.starts_with("-----ursprüngliche nachricht") ||
      small.starts_with("----- forwarded message") || small.starts_with("---------- forwarded message"))
    return !small.contains("forwarded");  // a forwarded mail is what the writer is talking about
  const bool rule = small.size() >= 20 && small.find_first_not_of('_') == small.npos;
  std::size_t next = at + (rule ? 1 : 0);
  while (rule && next < lines.size() && is_blank(lines[next])) ++next;
  // "From: …" and "Sent: …" below each other: Outlook.
  if (next + 1 >= lines.size()) return false;
  const std::string first = lower(trim(lines[next]));
  const std::string second = lower(trim(lines[next + 1]));
  return (first.starts_with("from: ") && (second.starts_with("sent: ") || second.starts_with("date: "))) ||
         (first.starts_with("von: ") && (second.starts_with("gesendet: ") || second.starts_with("datum: ")));
}

std::string joined(const LinesOfText& lines) {
  std::string out;
  for (const std::string_view line : lines) {
    out += line;
    out += '\n';
  }
  return std::string(trim(out));
}

void drop_blank_end(LinesOfText& lines) {
  while (!lines.empty() && is_blank(lines.back())) lines.pop_back();
}

}  // namespace

std::string own_words(std::string_view text) {
  LinesOfText all;
  for (std::string_view left = text; !left.empty();) {
    const std::size_t end = left.find('\n');
    all.push_back(left.substr(0, end));
    left.remove_prefix(end == left.npos ? left.size() : end + 1);
  }
  LinesOfText lines = all;
  for (std::size_t at = 0; at < lines.size(); ++at) {
    if (lines[at] == "-- " || lines[at] == "--" || is_separator(lines, at)) {
      lines.resize(at);
      break;
    }
  }
  // The history: quoted lines at the end, and the line that announces them, which may be folded in two.
  drop_blank_end(lines);
  const std::size_t before = lines.size();
  while (!lines.empty() && (is_quote(lines.back()) || is_blank(lines.back()))) lines.pop_back();
  if (lines.size() < before && !lines.empty() && trim(lines.back()).ends_with(':')) {
    if (is_attribution(lines.back())) {
      const std::string small = lines.size() >= 2 ? lower(trim(lines[lines.size() - 2])) : "";
      const bool folded = (small.starts_with("on ") || small.starts_with("am ") || small.starts_with("le ")) &&
                          !lower(trim(lines.back())).starts_with(small.substr(0, 3));
      lines.pop_back();
      if (folded) lines.pop_back();
    }
  }
  drop_blank_end(lines);
  // The same above the answer: an announced quotation that the mail begins with.
  std::size_t start = 0;
  while (start < lines.size() && is_blank(lines[start])) ++start;
  if (start < lines.size() && is_attribution(lines[start])) {
    std::size_t end = start + 1;
    while (end < lines.size() && (is_quote(lines[end]) || is_blank(lines[end]))) ++end;
    const bool quoted = std::ranges::any_of(lines.begin() + static_cast<std::ptrdiff_t>(start),
                                            lines.begin() + static_cast<std::ptrdiff_t>(end), is_quote);
    if (quoted) lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(end));
  }
  std::string own = joined(lines);
  return own.empty() ? joined(all) : own;
}

}  // namespace talaria::mail
