#pragma once
// What may be written into an HTTP message, and the words of RFC 9110 that both sides need. Nothing that goes out may
// carry a line break into a header: that is how one message is made to look like two.

#include <string_view>

namespace talaria {

[[nodiscard]] std::string_view reason_phrase(int status);  // "OK" for 200; empty for what has no name
[[nodiscard]] bool is_token(std::string_view text);        // RFC 9110, 5.6.2
[[nodiscard]] bool is_safe_field(std::string_view name,
                                 std::string_view value);    // a token; no control characters but tab (5.5)
[[nodiscard]] bool is_safe_target(std::string_view target);  // not empty, no blanks, no control characters
[[nodiscard]] bool equals_ignoring_case(std::string_view a, std::string_view b);  // ASCII
// The fields that frame a message (Content-Length, Transfer-Encoding, Connection): written by net/, never by its users.
[[nodiscard]] bool is_framing_field(std::string_view name);

}  // namespace talaria
