// What another version of the program hands over, and what a program says in its self-check, from a hostile hand.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "lifecycle/handover.h"
#include "lifecycle/self_check.h"

using namespace talaria;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto handover = parse_handover(text)) {
    for (const auto& fd : handover->fds)
      if (fd.number < 3) std::abort();
    if (parse_handover(format_handover(*handover)) != *handover) std::abort();
  }
  if (const auto check = parse_self_check(text)) {
    if (parse_self_check(format_self_check(*check)) != *check) std::abort();
  }
  return 0;
}
