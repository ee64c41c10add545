// Messages of an rtnetlink socket, cut and mangled in any way.
#include <cstdint>
#include <string_view>

#include "net/network_watch.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)talaria::tells_of_new_route({reinterpret_cast<const char*>(data), size});
  return 0;
}
