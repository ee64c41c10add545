#pragma once
// The files that `gateway install` owns: the template of a scope, and a drop-in that names the user of one instance. A
// file without our mark is never written over or removed.

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/paths.h"

namespace talaria::cli {

enum class Written { created, updated, unchanged };

// Whole or not at all (temporary file and rename), mode 0644. conflict: somebody else's file is there.
[[nodiscard]] Result<Written> write_our_file(const std::string& path, const std::string& text);
// False: it was not there. conflict: it is not ours.
[[nodiscard]] Result<bool> remove_our_file(const std::string& path);

// "/etc/systemd/system", or systemd/user below the user manager's XDG_CONFIG_HOME.
[[nodiscard]] std::string unit_directory(Scope scope, const std::string& config_home);
// "…/talaria-gateway@PROFILE.service.d/50-run-as-user.conf".
[[nodiscard]] std::string user_drop_in_path(const std::string& unit_directory, const std::string& unit);

// XDG_CONFIG_HOME of a manager with that environment ("NAME=value"); else HOME/.config; empty: neither is set.
[[nodiscard]] std::string config_home_of(const std::vector<std::string>& environment);
[[nodiscard]] std::optional<std::string> value_of(const std::vector<std::string>& environment, std::string_view name);

// Instances that are enabled (a link in some *.wants of the directory), other than `unit`.
[[nodiscard]] std::vector<std::string> other_enabled_instances(const std::string& unit_directory,
                                                               const std::string& unit);

}  // namespace talaria::cli
