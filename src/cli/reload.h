#pragma once
#include "config/paths.h"

namespace talaria::cli {

// Asks the running gateway whether it could start again with its configuration as it is now: it sees files that this
// user may not read. Prints every mistake and returns 78; 0 also when no gateway answers.
[[nodiscard]] int check_running(const ProfilePaths& paths);

}  // namespace talaria::cli
