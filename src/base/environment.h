#pragma once
// Our own environment. Not to be read while another thread changes it (getenv(3)); nobody does after the start.

#include <cstdlib>
#include <string>

namespace talaria {

// Empty: not set, or set to nothing.
[[nodiscard]] inline std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace talaria
