#include "channel/email/imap_reader.h"

#include <algorithm>
#include <charconv>

#include "channel/email/codec.h"

namespace talaria::mail {
namespace {

constexpr int deepest = 20;
constexpr std::size_t most_values = 100'000;
constexpr std::size_t longest_line = 1024 * 1024;

bool is_status(std::string_view word) {
  return word == "OK" || word == "NO" || word == "BAD" || word == "BYE" || word == "PREAUTH";
}

std::string_view first_word(std::string_view text) { return text.substr(0, text.find_first_of(" \r\n")); }

// Text for people may end in braces; it announces nothing.
bool holds_literals(std::string_view response) {
  const std::string_view tag = first_word(response);
  if (tag == "+" || tag.size() >= response.size()) return false;
  return !is_status(upper(first_word(response.substr(tag.size() + 1))));
}

// "{123}" or "~{123}" at the end of a line without its CRLF.
std::optional<std::uint32_t> announced(std::string_view line) {
  if (!line.ends_with('}')) return std::nullopt;
  const std::size_t brace = line.rfind('{');
  if (brace == line.npos) return std::nullopt;
  std::string_view digits = line.substr(brace + 1, line.size() - brace - 2);
  if (digits.ends_with('+')) digits.remove_suffix(1);
  return parse_number(digits);
}

class Parser {
 public:
  explicit Parser(std::string_view bytes) : left_(bytes) {}

  Result<ImapResponse> run() {
    ImapResponse response;
    response.tag = take_word();
    if (response.tag.empty()) return wrong("a line without a tag");
    skip_blank();
    if (response.tag == "+") {
      response.text = trim(left_);
      return response;
    }
    response.word = upper(take_word());
    if (const auto number = parse_number(response.word)) {
      response.number = *number;
      skip_blank();
      response.word = upper(take_word());
    }
    if (response.word.empty()) return wrong("a line without a word");
    skip_blank();
    if (is_status(response.word)) {
      take_status(response);
      return response;
    }
    while (!at_end()) {
      ImapValue value;
      if (auto good = take_value(value, 0); !good) return std::unexpected(good.error());
      response.values.push_back(std::move(value));
      skip_blank();
    }
    return response;
  }

 private:
  static std::unexpected<Error> wrong(std::string_view what) {
    return fail(ErrorKind::invalid, "the IMAP server sent " + std::string(what));
  }
  [[nodiscard]] bool at_end() const { return left_.empty() || left_ == "\r\n" || left_ == "\n"; }
  void skip_blank() { left_.remove_prefix(std::min(left_.find_first_not_of(' '), left_.size())); }
  std::string take_word() {
    const std::string_view word = first_word(left_);
    left_.remove_prefix(word.size());
    return std::string(word);
  }

  void take_status(ImapResponse& response) {
    if (left_.starts_with('[')) {
      const std::size_t end = left_.find(']');
      if (end != left_.npos) {
        response.code = left_.substr(1, end - 1);
        left_.remove_prefix(end + 1);
      }
    }
    response.text = trim(left_);
  }

  Result<> take_value(ImapValue& value, int depth) {
    if (++values_ > most_values || depth > deepest)
      return fail(ErrorKind::limit, "the IMAP server sent too long a list");
    const char c = left_.front();
    if (c == '(') return take_list(value, depth);
    if (c == '"') return take_quoted(value);
    if (c == '{' || left_.starts_with("~{")) return take_literal(value);
    return take_atom(value);
  }

  Result<> take_list(ImapValue& value, int depth) {
    value.kind = ImapValue::Kind::list;
    left_.remove_prefix(1);
    for (;;) {
      skip_blank();
      if (at_end()) return wrong("a list without its end");
      if (left_.front() == ')') {
        left_.remove_prefix(1);
        return {};
      }
      ImapValue item;
      if (auto good = take_value(item, depth + 1); !good) return good;
      value.items.push_back(std::move(item));
    }
  }

  Result<> take_quoted(ImapValue& value) {
    value.kind = ImapValue::Kind::text;
    for (std::size_t at = 1; at < left_.size(); ++at) {
      if (left_[at] == '"') {
        left_.remove_prefix(at + 1);
        return {};
      }
      if (left_[at] == '\r' || left_[at] == '\n') break;
      if (left_[at] == '\\' && at + 1 < left_.size()) ++at;
      value.text += left_[at];
    }
    return wrong("a quoted string without its end");
  }

  Result<> take_literal(ImapValue& value) {
    value.kind = ImapValue::Kind::text;
    const std::size_t end = left_.find('\n');
    if (end == left_.npos) return wrong("a literal without its bytes");
    std::string_view head = left_.substr(0, end);
    if (head.ends_with('\r')) head.remove_suffix(1);
    const auto size = announced(head);
    if (!size || left_.size() - end - 1 < *size) return wrong("a literal without its bytes");
    value.text = left_.substr(end + 1, *size);
    left_.remove_prefix(end + 1 + *size);
    return {};
  }

  // "BODY[HEADER.FIELDS (FROM)]<0>" is one atom: brackets may hold blanks.
  Result<> take_atom(ImapValue& value) {
    value.kind = ImapValue::Kind::atom;
    bool bracket = false;
    std::size_t at = 0;
    for (; at < left_.size(); ++at) {
      const char c = left_[at];
      if (c == '\r' || c == '\n') break;
      if (c == '[') bracket = true;
      if (c == ']') bracket = false;
      if (!bracket && (c == ' ' || c == '(' || c == ')' || c == '"')) break;
    }
    if (at == 0) return wrong("something that is no value");
    value.text = left_.substr(0, at);
    left_.remove_prefix(at);
    if (upper(value.text) == "NIL") value = {};
    return {};
  }

  std::string_view left_;
  std::size_t values_ = 0;
};

}  // namespace

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string imap_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

Result<ImapResponse> parse_imap_response(std::string_view bytes) { return Parser(bytes).run(); }

Result<std::optional<ImapResponse>> ImapReader::next() {
  for (;;) {
    if (scanned_ > input_.size()) {  // inside of a literal
      if (scanned_ > max_bytes_) return fail(ErrorKind::limit, "the IMAP server sends a response that is too large");
      return std::nullopt;
    }
    const std::size_t end = input_.find('\n', scanned_);
    if (end == std::string::npos) {
      scanned_ = input_.size();
      if (input_.size() - line_ > longest_line || input_.size() > max_bytes_)
        return fail(ErrorKind::limit, "the IMAP server sends a line that is too long");
      return std::nullopt;
    }
    std::string_view line = std::string_view(input_).substr(line_, end - line_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto literal = holds_literals(input_) ? announced(line) : std::nullopt;
    if (literal) {
      line_ = scanned_ = end + 1 + *literal;
      continue;
    }
    auto response = parse_imap_response(std::string_view(input_).substr(0, end + 1));
    input_.erase(0, end + 1);
    if (input_.empty() && input_.capacity() > longest_line) input_ = {};  // a large mail's room is not kept
    scanned_ = line_ = 0;
    if (!response) return std::unexpected(response.error());
    return std::move(*response);
  }
}

}  // namespace talaria::mail
