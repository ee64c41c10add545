#pragma once
// What of a PRIVMSG is meant for us: a private message, or a line in a channel that begins with our name. NOTICEs are
// never answered (RFC 1459 section 4.4.2), nor are bots, CTCP requests and ourselves: two programs would talk for ever.

#include <optional>
#include <string>
#include <string_view>

#include "channel/irc/isupport.h"
#include "channel/irc/message.h"

namespace talaria::irc {

struct Incoming {
  Source from;
  std::string target;  // the channel; the sender's nick when direct
  std::string text;    // without the mention, without colours and other formatting
  bool direct = false;
};
// None: not for us.
[[nodiscard]] std::optional<Incoming> read_privmsg(const Message& message, std::string_view own_nick,
                                                   const Isupport& isupport);

// "nick: text", "nick, text", "@nick text" → "text"; none when the text doesn't begin with the nick.
[[nodiscard]] std::optional<std::string> strip_mention(std::string_view text, std::string_view nick,
                                                       CaseMapping mapping);

// Without mIRC's formatting (bold 0x02, colour 0x03 …, hexadecimal colour 0x04 …) and other control characters.
[[nodiscard]] std::string strip_formatting(std::string_view text);

}  // namespace talaria::irc
