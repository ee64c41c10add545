// What a service manager's file or socket holds is somebody else's: any bytes must do no harm.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "service/supervisor_answer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)talaria::parse_runit_status(input);
  (void)talaria::parse_s6_status(input);
  (void)talaria::parse_supervisord_answer(input);
  return 0;
}
