#pragma once
// What an IMAP server says (RFC 3501, 9; RFC 9051): bytes in, whole responses out. A response is a line, but for
// literals: "{5}" at the end of a line announces five bytes that follow, whatever they are, and then the line goes on.
// Bounded: a response, its literals with it, holds at most `max_bytes`, and lists at most some thousand values in a
// depth of 20.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace talaria::mail {

struct ImapValue {
  enum class Kind { atom, text, list, nil };
  Kind kind = Kind::nil;
  std::string text;  // of an atom, a quoted string or a literal
  std::vector<ImapValue> items;
};

struct ImapResponse {
  std::string tag;           // "*", "+", or the tag of a command
  std::string word;          // upper case: "OK", "EXISTS", "FETCH", "SEARCH" …; empty with "+"
  std::uint32_t number = 0;  // before the word: "* 12 EXISTS"
  std::string code;          // in brackets after OK, NO, BAD, BYE, PREAUTH: "UIDVALIDITY 7"
  std::string text;          // for people, after that
  std::vector<ImapValue> values;
};

class ImapReader {
 public:
  explicit ImapReader(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  void feed(std::string_view bytes) { input_ += bytes; }
  [[nodiscard]] std::string& buffer() { return input_; }  // to append to
  // The next whole response; none: more bytes are needed. An error (`limit`, `invalid`): the connection is of no more
  // use.
  Result<std::optional<ImapResponse>> next();
  // Bytes that belong to no response yet.
  [[nodiscard]] bool empty() const { return input_.empty(); }

 private:
  std::string input_;
  std::size_t max_bytes_;
  std::size_t scanned_ = 0;  // where the search for the line's end goes on
  std::size_t line_ = 0;     // where the line that is searched begins
};

// One whole response, with its CRLF.
[[nodiscard]] Result<ImapResponse> parse_imap_response(std::string_view bytes);

// The number in `text`, all of it; none: it is not one.
[[nodiscard]] std::optional<std::uint32_t> parse_number(std::string_view text);

// "a \"quoted\" string" (RFC 3501, 4.3) for a command. The text must hold no control characters.
[[nodiscard]] std::string imap_quoted(std::string_view text);

}  // namespace talaria::mail
