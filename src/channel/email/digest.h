#pragma once
// A short name for a content that nobody can make twice: SHA-256 in hexadecimal digits.

#include <initializer_list>
#include <string>
#include <string_view>

namespace talaria::mail {

// 32 digits (128 bits). Of the parts with their lengths, so that ("ab", "c") and ("a", "bc") differ.
[[nodiscard]] std::string digest(std::initializer_list<std::string_view> parts);

}  // namespace talaria::mail
