#pragma once
// Where a profile lives. User scope: XDG directories; system scope: /etc, /var/lib, /run; under systemd what the
// manager passes (CONFIGURATION_DIRECTORY, STATE_DIRECTORY, RUNTIME_DIRECTORY, systemd.exec(5)); TALARIA_HOME puts all
// under one directory.

#include <string>

#include "base/result.h"

namespace talaria {

enum class Scope { user, system };
[[nodiscard]] std::string_view to_string(Scope scope);

struct ProfilePaths {
  std::string profile;
  std::string config_file;        // …/config.toml
  std::string state_directory;    // gateway.lock, talaria.db
  std::string runtime_directory;  // control.sock
  [[nodiscard]] std::string control_socket() const { return runtime_directory + "/control.sock"; }
  [[nodiscard]] std::string attachments() const { return state_directory + "/attachments"; }
  [[nodiscard]] std::string database() const { return state_directory + "/talaria.db"; }
};

// 1 to 64 characters of [a-z0-9_-], beginning with a letter or digit: it becomes a unit instance and a directory.
[[nodiscard]] Result<> check_profile_name(std::string_view name);

// Paths from the environment. Nothing is created. invalid: bad profile name, relative TALARIA_HOME; not_found: no HOME.
// In the user scope without XDG_RUNTIME_DIR the runtime directory is <state>/run.
[[nodiscard]] Result<ProfilePaths> paths_for(std::string_view profile, Scope scope);

// Creates state and runtime directory (0700) where missing; their names survive a power cut from then on. `unavailable`
// (read-only, full) may pass.
[[nodiscard]] Result<> make_directories(const ProfilePaths& paths);

}  // namespace talaria
