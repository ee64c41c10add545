#include "channel/text_split.h"

#include <utf8proc.h>

#include <algorithm>

namespace talaria {

namespace {

struct CodePoint {
  utf8proc_int32_t value = 0xFFFD;
  std::size_t bytes = 1;
  bool valid = false;
};

CodePoint decode(std::string_view text) {
  utf8proc_int32_t value = 0;
  const auto* data = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  const auto n = utf8proc_iterate(data, static_cast<utf8proc_ssize_t>(text.size()), &value);
  if (n <= 0) return {};
  return {value, static_cast<std::size_t>(n), true};
}

// Splits off one line, without its newline.
std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const auto line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// True: `text` has more than `max` units. Looks at no more of it than that takes.
bool is_longer(TextUnit unit, std::string_view text, std::size_t max) {
  // No unit takes more than 3 bytes; a code point that the prefix ends in counts as whole, as it does in `text`.
  return text.size() > max && length_in(unit, text.substr(0, 3 * max + 4)) > max;
}

// Collects lines into messages; knows the code block it is in.
class Pieces {
 public:
  Pieces(std::size_t max, TextUnit unit, std::size_t most) : max_(max), unit_(unit), most_(most) {}

  // What follows is in none of the pieces that are wanted.
  [[nodiscard]] bool full() const { return pieces_.size() >= most_; }

  void add_line(std::string_view line) {
    const auto fence = code_fence(line);
    if (!fence_.empty() && closes(line, fence)) {
      append(fence_);  // its room is always kept free
      fence_.clear();
      return;
    }
    if (fence_.empty() && !fence.empty() && length(line) <= max_ / 4) {
      // Opening, closing and a little between must fit together.
      if (!fits(line, 2 * (fence.size() + 1) + 8)) flush();
      append(line);
      fence_ = fence;
      opening_ = line;
      return;
    }
    add_text(line);
  }

  std::vector<std::string> finish() {
    if (!full()) flush();
    return std::move(pieces_);
  }

 private:
  [[nodiscard]] bool closes(std::string_view line, std::string_view fence) const {
    return fence.starts_with(fence_) && line.find_last_not_of(" \t") == line.find(fence) + fence.size() - 1;
  }
  [[nodiscard]] std::size_t length(std::string_view text) const { return length_in(unit_, text); }
  // Units of the message if a line of `more` units were added and the code block closed.
  [[nodiscard]] std::size_t size_with(std::size_t more) const {
    return current_length_ + (blank_ ? 0 : 1) + more + (fence_.empty() ? 0 : fence_.size() + 1);
  }
  [[nodiscard]] bool fits(std::string_view line, std::size_t more) const {
    return size_with(length(line) + more) <= max_;
  }

  void append(std::string_view line) {
    if (!blank_) current_ += '\n';
    current_length_ += (blank_ ? 0 : 1) + length(line);
    current_ += line;
    blank_ = false;
  }

  void add_text(std::string_view line) {
    std::size_t left = length(line);  // counted once: the line may be all of a long text
    if (size_with(left) > max_ && !blank_) flush();
    while (size_with(left) > max_ && !full()) {
      const auto piece = line.substr(0, split_point(line, max_ - size_with(0), unit_));
      append(piece);
      left -= length(piece);
      line.remove_prefix(piece.size());
      flush();
    }
    if (!full()) append(line);
  }

  // Ends the message; in a code block the next one opens it again.
  void flush() {
    if (!fence_.empty() && current_ == opening_) return;  // nothing in it yet
    if (!fence_.empty()) append(fence_);
    if (current_.find_first_not_of(" \t\n") != std::string::npos) pieces_.push_back(std::move(current_));
    current_.clear();
    current_length_ = 0;
    blank_ = true;
    if (!fence_.empty()) append(opening_);
  }

  std::size_t max_;
  TextUnit unit_;
  std::size_t most_;
  std::vector<std::string> pieces_;
  std::string current_;
  std::size_t current_length_ = 0;  // in units
  bool blank_ = true;               // current_ holds no line yet
  std::string fence_;               // of the open code block; empty: none
  std::string opening_;             // the line that opened it
};

}  // namespace

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto ascii = static_cast<std::size_t>(
        std::ranges::find_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }) - text.begin());
    out += text.substr(0, ascii);
    text.remove_prefix(ascii);
    if (text.empty()) break;
    const auto c = decode(text);
    if (c.valid) {
      out += text.substr(0, c.bytes);
    } else {
      out += "\xEF\xBF\xBD";
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::size_t length_in(TextUnit unit, std::string_view text) {
  if (unit == TextUnit::bytes) return text.size();
  std::size_t units = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80) units += byte >= 0xF0 ? 2 : 1;
  }
  return units;
}

std::size_t utf16_offset(std::string_view text, std::size_t n) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto c = decode(text.substr(at));
    const std::size_t units = c.bytes == 4 ? 2 : 1;
    if (n < units) return at;
    n -= units;
    at += c.bytes;
  }
  return at;
}

std::size_t split_point(std::string_view text, std::size_t max, TextUnit unit) {
  max = std::max<std::size_t>(max, 4);
  if (!is_longer(unit, text, max)) return text.size();
  std::size_t after_blank = 0;
  std::size_t blank_units = 0;
  std::size_t after_grapheme = 0;
  std::size_t after_code_point = 0;
  utf8proc_int32_t previous = 0;
  utf8proc_int32_t state = 0;
  std::size_t units = 0;
  for (std::size_t at = 0; units <= max && at < text.size();) {
    const auto c = decode(text.substr(at));
    if (at > 0) {
      after_code_point = at;
      if (utf8proc_grapheme_break_stateful(previous, c.value, &state)) {
        after_grapheme = at;
        if (previous == ' ' || previous == '\t') {
          after_blank = at;
          blank_units = units;
        }
      }
    }
    previous = c.value;
    at += c.bytes;
    units += unit == TextUnit::bytes ? c.bytes : c.bytes == 4 ? 2 : 1;
  }
  if (blank_units >= max / 2) return after_blank;
  return after_grapheme > 0 ? after_grapheme : after_code_point;
}

std::vector<std::string> split_line(std::string_view line, std::size_t max_bytes) {
  std::vector<std::string> pieces;
  while (!line.empty()) {
    const auto n = split_point(line, max_bytes);
    pieces.emplace_back(line.substr(0, n));
    line.remove_prefix(n);
  }
  return pieces;
}

std::string_view code_fence(std::string_view line) {
  const auto start = line.find_first_not_of(' ');
  if (start > 3) return {};  // npos, too
  line.remove_prefix(start);
  if (line[0] != '`' && line[0] != '~') return {};
  const auto end = std::min(line.find_first_not_of(line[0]), line.size());
  if (end < 3 || end > 16) return {};
  // "```a```" is inline code, not a block.
  if (line[0] == '`' && line.substr(end).contains('`')) return {};
  return line.substr(0, end);
}

std::vector<std::string> split_text(std::string_view text, std::size_t max, TextUnit unit, std::size_t most) {
  const std::string valid = replace_invalid_utf8(text);
  Pieces pieces(std::max<std::size_t>(max, 64), unit, most);
  for (std::string_view rest = valid; !rest.empty() && !pieces.full();) pieces.add_line(take_line(rest));
  return pieces.finish();
}

}  // namespace talaria
