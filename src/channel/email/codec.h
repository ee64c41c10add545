#pragma once
// The encodings of mail: base64 and quoted-printable (RFC 2045, 6.7 and 6.8), and character sets. Decoding never fails:
// what is broken is passed over, as every reader of mail does.

#include <string>
#include <string_view>

namespace talaria::mail {

// Characters that are none of base64 are passed over; ends at the padding.
[[nodiscard]] std::string decode_base64(std::string_view text);
// One line, without breaks.
[[nodiscard]] std::string encode_base64(std::string_view bytes);

[[nodiscard]] std::string decode_quoted_printable(std::string_view text);
// Lines of at most 76 characters that end in CRLF. Takes LF, CRLF and CR as line ends.
[[nodiscard]] std::string encode_quoted_printable(std::string_view text);

// Text of that character set as valid UTF-8 without NUL bytes. An unknown character set, or none, is taken for UTF-8
// where that fits, else for Windows-1252; what can't be converted becomes U+FFFD.
[[nodiscard]] std::string to_utf8(std::string_view bytes, std::string_view charset);

[[nodiscard]] std::string lower(std::string_view text);                // ASCII letters alone
[[nodiscard]] std::string upper(std::string_view text);                // likewise
[[nodiscard]] bool is_control(char c);                                 // ASCII
[[nodiscard]] bool same_word(std::string_view a, std::string_view b);  // ASCII letters of either case are the same
[[nodiscard]] std::string_view trim(std::string_view text);            // blanks, tabs and line ends

}  // namespace talaria::mail
