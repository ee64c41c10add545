#pragma once
// The user that the system's service runs as: made where it is missing, and allowed to read its configuration.

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"
#include "config/paths.h"

namespace talaria::cli {

struct ServiceUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // all of them
};

// not_found: there is no such user.
[[nodiscard]] Result<ServiceUser> find_user(const std::string& name);
// A system user without a password or shell, by systemd-sysusers(8).
[[nodiscard]] Result<> create_system_user(const std::string& name);
// Lets a service of that user reach its directories and read its configuration. The directories that hold all profiles
// (/etc/talaria, /var/lib/talaria, /run/talaria) can be passed by everybody; the profile's configuration directory
// becomes root's and the user's group's alone (0750); the file gets g+r for that group where the user can't read it
// yet. Returns what was changed, one line each. permission: a link stands where something would have to change;
// whatever it leads to stays as it is.
[[nodiscard]] Result<std::vector<std::string>> let_use(const ServiceUser& user, const ProfilePaths& paths);

}  // namespace talaria::cli
