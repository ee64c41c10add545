#pragma once
// A session key is a tuple, encoded so that different tuples never meet: every component is percent-encoded (RFC 3986
// unreserved characters stay as they are) and the components are joined by '/', which no encoded component can hold
// (R5).

#include <initializer_list>
#include <string>
#include <string_view>

#include "channel/channel.h"

namespace talaria {

[[nodiscard]] std::string encode_key(std::initializer_list<std::string_view> components);

// Direct chats: one session for each sender. Groups: one for each sender by default; a thread is shared by all in it.
[[nodiscard]] std::string session_key_of(const InboundEvent& event);

// The API's sessions live apart from the channels'.
[[nodiscard]] std::string api_session_key(std::string_view agent, std::string_view session);

}  // namespace talaria
