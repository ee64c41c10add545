#include "base/version.h"

namespace talaria {

std::string_view program_version() { return TALARIA_VERSION; }

}  // namespace talaria
