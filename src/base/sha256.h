#pragma once
// SHA-256 (FIPS 180-4), for names and identities of bounded length.

#include <array>
#include <string>
#include <string_view>

namespace talaria {

using Sha256 = std::array<unsigned char, 32>;
[[nodiscard]] Sha256 sha256(std::string_view bytes);
// The first `bytes` bytes in lower-case hexadecimal.
[[nodiscard]] std::string to_hex(const Sha256& digest, std::size_t bytes = 32);

}  // namespace talaria
