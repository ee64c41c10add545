#include "gateway/session_key.h"

namespace talaria {

std::string encode_key(std::initializer_list<std::string_view> components) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string key;
  bool first = true;
  for (const std::string_view component : components) {
    if (!first) key += '/';
    first = false;
    for (const char c : component) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                         c == '.' || c == '_' || c == '~';
      if (plain) {
        key += c;
      } else {
        const auto byte = static_cast<unsigned char>(c);
        key += {'%', hex[byte >> 4], hex[byte & 15]};
      }
    }
  }
  return key;
}

std::string session_key_of(const InboundEvent& event) {
  const Route& route = event.route;
  if (event.direct) return encode_key({"direct", route.channel, event.sender.id});
  if (!route.thread.empty()) return encode_key({"thread", route.channel, route.conversation, route.thread});
  return encode_key({"group", route.channel, route.conversation, event.sender.id});
}

std::string api_session_key(std::string_view agent, std::string_view session) {
  return encode_key({"api", agent, session});
}

}  // namespace talaria
