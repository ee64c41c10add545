// Which scope a command means when the line doesn't say.
#include <unistd.h>

#include <filesystem>

#include "base/environment.h"
#include "cli/command.h"
#include "config/paths.h"

namespace talaria::cli {
namespace {

constexpr const char* unit_file = "talaria-gateway@.service";

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;  // what can't be seen is not there for us
  return std::filesystem::exists(path, ignored);
}

bool user_unit_exists() {
  std::filesystem::path base = environment_variable("XDG_CONFIG_HOME");
  if (base.empty()) {
    base = environment_variable("HOME");
    if (base.empty()) return false;
    base /= ".config";
  }
  return is_there(base / "systemd/user" / unit_file);
}

bool user_manager_runs() {
  const std::filesystem::path runtime = environment_variable("XDG_RUNTIME_DIR");
  return !runtime.empty() && is_there(runtime / "systemd/private");
}

Scope choose_scope(bool asked_for_system) {
  if (asked_for_system) return Scope::system;
  if (user_unit_exists()) return Scope::user;
  if (is_there(std::filesystem::path("/etc/systemd/system") / unit_file)) return Scope::system;
  // Root on a server or in a container has no manager of its own: what it runs is the system's.
  return ::geteuid() == 0 && !user_manager_runs() ? Scope::system : Scope::user;
}

}  // namespace

Scope Context::scope() const { return choose_scope(system_scope); }
Result<ProfilePaths> Context::paths() const { return paths_for(profile, scope()); }

}  // namespace talaria::cli
