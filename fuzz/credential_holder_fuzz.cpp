// A hostile process answers for a credential's lock: no crash, no text that would steer a terminal, and what was read
// can be written and read again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "process/credential_lock.h"

using namespace talaria;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto holder = parse_credential_holder(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!holder) return 0;
  for (const auto* part : {&holder->profile, &holder->scope, &holder->unit, &holder->channel}) {
    if (std::ranges::any_of(*part, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }))
      std::abort();
  }
  if (parse_credential_holder(format_credential_holder(*holder)) != *holder) std::abort();
  return 0;
}
