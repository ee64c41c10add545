#include "channel/email/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

namespace talaria::mail {

std::string digest(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const std::string_view part : parts) all += fmt::format("{}:{}", part.size(), part);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned size = 0;
  EVP_Digest(all.data(), all.size(), hash.data(), &size, EVP_sha256(), nullptr);
  std::string out;
  for (std::size_t i = 0; i < 16; ++i) out += fmt::format("{:02x}", hash[i]);
  return out;
}

}  // namespace talaria::mail
