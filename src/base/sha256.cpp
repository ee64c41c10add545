#include "base/sha256.h"

#include <openssl/evp.h>

#include <algorithm>

namespace talaria {

Sha256 sha256(std::string_view bytes) {
  Sha256 digest{};
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

std::string to_hex(const Sha256& digest, std::size_t bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (std::size_t i = 0; i < std::min(bytes, digest.size()); ++i)
    hex += {digits[digest[i] >> 4], digits[digest[i] & 15]};
  return hex;
}

}  // namespace talaria
