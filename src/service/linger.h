#pragma once
// "Linger" lets a user's service manager start at boot and outlive the user's sessions (loginctl(1)). Without it a
// user's service ends with the last logout.

#include <string>

#include "base/result.h"
#include "runtime/deadline.h"

namespace talaria {

[[nodiscard]] bool linger_enabled(const std::string& user);
// Asks logind, over the system bus. permission: logind wants an administrator.
[[nodiscard]] Result<> enable_linger(unsigned uid, Deadline deadline);

}  // namespace talaria
