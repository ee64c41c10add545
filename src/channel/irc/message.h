#pragma once
// The line format of IRC: "@tags :source COMMAND param param :last param" (RFC 1459 section 2.3.1; tags and limits:
// IRCv3 message-tags). This is where bytes from the network become values, and where nothing can smuggle a second line
// out.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace talaria::irc {

inline constexpr std::size_t kMaxLine = 512;     // with CR LF, without tags
inline constexpr std::size_t kMaxParams = 15;    // the last takes the rest
inline constexpr std::size_t kMaxInput = 16384;  // of one line from the server; tags alone may have 8191

// Who a message is from: "nick!user@host", or a server's name in `nick`.
struct Source {
  std::string nick;
  std::string user;
  std::string host;
  [[nodiscard]] bool is_user() const { return !user.empty() || !host.empty(); }
  [[nodiscard]] std::string mask() const { return user + "@" + host; }
  friend bool operator==(const Source&, const Source&) = default;
};

struct Message {
  std::vector<std::pair<std::string, std::string>> tags;  // values unescaped
  Source source;
  std::string command;  // upper case, or three digits
  std::vector<std::string> params;

  // Value of a tag; null when absent.
  [[nodiscard]] const std::string* tag(std::string_view key) const;
  // When it was said, by the server's clock (IRCv3 server-time: RFC 3339, UTC); none: not told, or garbage.
  [[nodiscard]] std::optional<UnixMillis> time() const;
  // The parameter, or "" when there are not so many.
  [[nodiscard]] std::string_view param(std::size_t index) const;
};

// Parses one line without its CR LF. Bytes that are no UTF-8 become U+FFFD. `invalid`: no command, a NUL or CR inside,
// or longer than kMaxInput.
[[nodiscard]] Result<Message> parse_message(std::string_view line);

// Builds a line without CR LF; the last parameter gets a colon where it needs one. `invalid`: a parameter with NUL, CR
// or LF, a middle one that is empty, has a blank or starts with a colon, or a line above 510 bytes.
[[nodiscard]] Result<std::string> format_line(std::string_view command, std::span<const std::string> params);

}  // namespace talaria::irc
