#pragma once
// What may stand in a service definition, whatever its format.

#include <string_view>

namespace talaria {

// Valid UTF-8 without control characters (C0, DEL, C1). Empty text is.
[[nodiscard]] bool is_printable_utf8(std::string_view text);

}  // namespace talaria
