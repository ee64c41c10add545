#include "service/printable_utf8.h"

#include <utf8proc.h>

namespace talaria {

bool is_printable_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t code_point = 0;
    const auto n = utf8proc_iterate(bytes, left, &code_point);
    if (n <= 0 || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) return false;
    bytes += n;
    left -= n;
  }
  return true;
}

}  // namespace talaria
