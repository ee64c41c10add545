// /proc/locks with any line in it: what others lock never hides or becomes the holder of our home.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "process/instance_lock.h"

using namespace talaria;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto before = parse_proc_locks(text, 0xfd, 1, 88);
  const auto with_ours = parse_proc_locks(text + "\n9: FLOCK  ADVISORY  WRITE 4711 fd:01:88 0 EOF\n", 0xfd, 1, 88);
  if (!with_ours || (!before && *with_ours != 4711)) std::abort();
  return 0;
}
