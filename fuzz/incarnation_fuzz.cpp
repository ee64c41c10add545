// "PID:START:BOOTID": one spelling for each incarnation.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "process/identity.h"

using namespace talaria;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto incarnation = parse_incarnation(text);
  if (incarnation && (to_string(*incarnation) != text || incarnation->pid < 1)) std::abort();
  return 0;
}
