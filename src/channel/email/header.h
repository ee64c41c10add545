#pragma once
// The header of a mail: fields, and the small languages inside of them. Three generations lie on top of each other:
// structured fields with comments and quoted strings (RFC 5322), encoded words "=?utf-8?q?f=C3=BCr?=" for text beyond
// ASCII (RFC 2047), and parameters in pieces, name*0*=utf-8''... (RFC 2231). Everything is bounded and takes time in
// proportion to its size, and nothing here can fail: a field that makes no sense is as if it were not there.

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace talaria::mail {

inline constexpr std::size_t max_header_bytes = 256 * 1024;
inline constexpr std::size_t max_fields = 1000;

struct HeaderField {
  std::string name;   // as written
  std::string value;  // unfolded, as it came otherwise
};

class Header {
 public:
  // Takes the header off the front of `mail`: what is left is the body.
  static Header take(std::string_view& mail);

  // Of the first field of that name; empty: there is none. Names compare without regard to case.
  [[nodiscard]] std::string_view get(std::string_view name) const;
  [[nodiscard]] std::vector<std::string_view> all(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] const std::vector<HeaderField>& fields() const { return fields_; }

 private:
  std::vector<HeaderField> fields_;
};

// Unstructured text (Subject): encoded words become UTF-8, control characters blanks.
[[nodiscard]] std::string decode_words(std::string_view text);
// The other way: ASCII text as it is, anything else as encoded words, each at most 75 characters and folded. Control
// characters, with them line ends, become blanks: nothing can be smuggled into a header.
[[nodiscard]] std::string encode_words(std::string_view text);

// "text/plain; charset=utf-8" → the word before the parameters, and these, with names in lower case, decoded.
struct Parameters {
  std::string value;  // in lower case
  std::map<std::string, std::string> named;
  [[nodiscard]] std::string_view get(std::string_view name) const;
};
[[nodiscard]] Parameters parse_parameters(std::string_view text);

struct Mailbox {
  std::string name;     // as written, for decode_words(), at most some thousand bytes; may be empty
  std::string address;  // local@domain, in lower case
};
// The mailboxes of a From, To or Reply-To field, at most `most`. Groups are opened.
[[nodiscard]] std::vector<Mailbox> parse_mailboxes(std::string_view text, std::size_t most = 100);

// The message ids "<…@…>" of Message-ID, In-Reply-To or References, at most `most`, the first ones.
[[nodiscard]] std::vector<std::string> parse_message_ids(std::string_view text, std::size_t most = 100);

// "Sat, 21 Nov 2026 17:03:12 +0100" → milliseconds since the epoch; 0: not understood. Of IMAP's INTERNALDATE
// ("21-Nov-2026 17:03:12 +0100"), too.
[[nodiscard]] std::int64_t parse_date(std::string_view text);

// Tells the three things apart that a structured field is made of (RFC 5322, 3.2), a character at a time. Quotation
// marks and brackets belong to what they enclose; a backslash means something in there alone.
class FieldScan {
 public:
  enum class In { text, quotation, comment };
  In step(char c);
  [[nodiscard]] bool in_comment() const { return depth_ > 0; }
  // What was begun has ended, and nothing was in the text that has no meaning there: ")" or a backslash.
  [[nodiscard]] bool well_formed() const { return !stray_ && !quoted_ && depth_ == 0; }

 private:
  int depth_ = 0;  // of comments
  bool quoted_ = false;
  bool escaped_ = false;
  bool stray_ = false;
};

// The text with a blank for each comment "(…)"; quoted strings stay as they are.
[[nodiscard]] std::string without_comments(std::string_view text);

}  // namespace talaria::mail
