#pragma once
// The version of this program, from one place in the binary: what it tells about itself is the same everywhere.

#include <string_view>

namespace talaria {

[[nodiscard]] std::string_view program_version();

}  // namespace talaria
