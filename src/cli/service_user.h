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
// Lets the user's group read the configuration: the profile's directory becomes root's and that group's (0750), and
// where the user can't yet, the group gets g+rx of the directory above and g+r of the file. Nothing is opened to
// others. Returns what was changed, one line each.
[[nodiscard]] Result<std::vector<std::string>> let_read_config(const ServiceUser& user, const ProfilePaths& paths);

}  // namespace talaria::cli
