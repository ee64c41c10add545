#pragma once
// An answer as lines of IRC.
//
// A line of IRC has 512 bytes, CR LF and our own "nick!user@host" included, which the server puts in front when it
// relays the line: what does not fit is cut off on the way without a word. So the room for text depends on who we are
// and whom we write to. Newlines can't be sent: each line of the answer becomes a message. IRC shows Markdown as it
// stands, so its loudest marks go: code fences, heading marks, bold stars.

#include <string>
#include <string_view>
#include <vector>

namespace talaria::irc {

// Bytes of text that fit into one PRIVMSG to `target` as relayed with a source ("nick!user@host") of `source_bytes`. At
// least 64, which only a target or source beyond all limits of IRC can undercut.
[[nodiscard]] std::size_t text_room(std::size_t source_bytes, std::string_view target);

struct LineLimits {
  std::size_t bytes = 400;  // of one line, at least 64
  std::size_t lines = 100;  // of one answer, at least 2; the rest is left out, and the last line says so
};
// The lines to send, each of 1 to `limits.bytes` bytes of valid UTF-8 without control characters, cut between
// graphemes. `prefix`
// ("bob: ") begins the first one. Never empty: an answer without text is sent as "(empty message)".
[[nodiscard]] std::vector<std::string> compose_lines(std::string_view markdown, std::string_view prefix,
                                                     LineLimits limits);

}  // namespace talaria::irc
