#include "base/random.h"

#include <sys/random.h>

#include <cstdlib>

namespace talaria {

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  // 8 bytes are never cut short, and after early boot never block (getrandom(2)).
  while (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
  }
  return value;
}

std::string random_id(std::size_t length) {
  static constexpr char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string id;
  id.reserve(length);
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < length; ++i) {
    if (i % 12 == 0) bits = random_u64();
    id += alphabet[bits & 31];
    bits >>= 5;
  }
  return id;
}

double random_unit() { return static_cast<double>(random_u64() >> 11) * 0x1.0p-53; }

}  // namespace talaria
