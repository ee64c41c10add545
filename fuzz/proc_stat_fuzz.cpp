// /proc/PID/stat with any name: what stands before the last ')' never changes what is read after it.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "process/identity.h"

using namespace talaria;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)parse_proc_stat(text);
  const auto facts =
      parse_proc_stat("4711 (" + text + ") S 1 4242 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20\n");
  if (!facts || facts->pid != 4711 || facts->comm != text || facts->state != 'S' || facts->parent != 1 ||
      facts->group != 4242 || facts->start_time != 987654)
    std::abort();
  return 0;
}
