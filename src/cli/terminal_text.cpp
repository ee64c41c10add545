#include "cli/terminal_text.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace talaria::cli {
namespace {

// How many bytes at the end of the text begin a UTF-8 sequence that is longer than they are.
std::size_t unfinished(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;  // in the middle of one
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

std::string fit_to_be_shown(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t plain = std::min(text.find_first_of("\n\t\r"), text.size());
    out += printable(text.substr(0, plain));
    if (plain < text.size() && text[plain] != '\r') out += text[plain];
    text.remove_prefix(std::min(plain + 1, text.size()));
  }
  return out;
}

}  // namespace

std::string TerminalText::feed(std::string_view piece) {
  held_ += piece;
  const std::size_t whole = held_.size() - unfinished(held_);
  const std::string text = fit_to_be_shown(std::string_view(held_).substr(0, whole));
  held_.erase(0, whole);
  return text;
}

std::string TerminalText::finish() { return fit_to_be_shown(std::exchange(held_, {})); }

}  // namespace talaria::cli
