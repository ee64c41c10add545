#pragma once
// What the server says about itself in RPL_ISUPPORT (005), as far as we use it. Until it has said so, RFC 1459 holds.

#include <string>

#include "channel/irc/casemap.h"
#include "channel/irc/message.h"

namespace talaria::irc {

struct Isupport {
  CaseMapping casemapping = CaseMapping::rfc1459;
  std::string chantypes = "#&";
  std::size_t nicklen = 30;
  bool whox = false;
  char bot_mode = '\0';  // the user mode that marks a bot; NUL: none

  // Takes in one 005 line; unknown tokens and values out of range are passed over.
  void apply(const Message& message);
  [[nodiscard]] bool is_channel(std::string_view target) const {
    return !target.empty() && chantypes.contains(target.front());
  }
};

}  // namespace talaria::irc
