#include "channel/irc/isupport.h"

#include <charconv>

namespace talaria::irc {

void Isupport::apply(const Message& message) {
  // The first parameter is our nick, the last a sentence.
  for (std::size_t i = 1; i + 1 < message.params.size(); ++i) {
    const std::string_view token = message.params[i];
    const auto equals = std::min(token.find('='), token.size());
    const auto key = token.substr(0, equals);
    const auto value = token.substr(std::min(equals + 1, token.size()));
    if (key == "CASEMAPPING") {
      casemapping = case_mapping(value);
    } else if (key == "CHANTYPES" && !value.empty()) {
      chantypes = value;
    } else if (key == "NICKLEN") {
      std::size_t length = 0;
      std::from_chars(value.data(), value.data() + value.size(), length);
      if (length > 0 && length <= 256) nicklen = length;
    } else if (key == "WHOX") {
      whox = true;
    } else if (key == "BOT" && value.size() == 1) {
      bot_mode = value.front();
    }
  }
}

}  // namespace talaria::irc
