#include "config/paths.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/environment.h"
#include "base/fd.h"
#include "base/text.h"

namespace talaria {
namespace {

// An XDG directory; the specification says that a relative one is to be ignored.
std::string xdg(const char* name) {
  std::string value = environment_variable(name);
  return value.starts_with('/') ? value : "";
}

// The directory that systemd passes for this profile: the first of a colon-separated list (systemd.exec(5)). These
// variables leak into every child of every service, so one that is not named after the profile belongs to somebody
// else.
std::string from_manager(const char* name, std::string_view profile) {
  const std::string value = environment_variable(name);
  const std::string first = value.substr(0, value.find(':'));
  if (!first.starts_with('/')) return "";
  return std::filesystem::path(first).filename() == profile ? first : "";
}

struct Directories {
  std::string config, state, runtime;
};

Result<Directories> user_directories(std::string_view profile) {
  const std::string home = environment_variable("HOME");
  std::string config = xdg("XDG_CONFIG_HOME");
  std::string state = xdg("XDG_STATE_HOME");
  if ((config.empty() || state.empty()) && !home.starts_with('/')) {
    return fail(ErrorKind::not_found, "HOME is not set: set it, or set TALARIA_HOME to the directory to use");
  }
  if (config.empty()) config = home + "/.config";
  if (state.empty()) state = home + "/.local/state";
  Directories result{fmt::format("{}/talaria/{}", config, profile), fmt::format("{}/talaria/{}", state, profile), ""};
  const std::string runtime = xdg("XDG_RUNTIME_DIR");
  result.runtime = runtime.empty() ? result.state + "/run" : fmt::format("{}/talaria/{}", runtime, profile);
  return result;
}

Directories system_directories(std::string_view profile) {
  return {fmt::format("/etc/talaria/{}", profile), fmt::format("/var/lib/talaria/{}", profile),
          fmt::format("/run/talaria/{}", profile)};
}

void apply_manager(Directories& directories, Scope scope, std::string_view profile) {
  const std::string config = from_manager("CONFIGURATION_DIRECTORY", profile);
  const std::string state = from_manager("STATE_DIRECTORY", profile);
  const std::string runtime = from_manager("RUNTIME_DIRECTORY", profile);
  if (!config.empty()) directories.config = config;
  if (!runtime.empty()) directories.runtime = runtime;
  // A user manager before systemd 254 puts StateDirectory= below XDG_CONFIG_HOME, into the configuration directory
  // itself. Following it there would part the service from every command typed in a shell.
  const bool old_user_manager = scope == Scope::user && state == directories.config;
  if (!state.empty() && !old_user_manager) directories.state = state;
}

// Syncing a file does not save the names that lead to it (fsync(2)). The store syncs the directory that it is in; the
// directories above were made here, and without this a power cut in the first seconds of a home would take all of it.
// A file system that can't sync directories has no more to give.
void sync_directory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd) (void)::fsync(fd.get());
}

Result<> make_directory(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  struct stat found{};
  if (::stat(path.c_str(), &found) == 0) {
    if (S_ISDIR(found.st_mode)) return {};
    return fail(ErrorKind::invalid, path + " is not a directory: move it away");
  }
  if (!parent.empty() && parent != path) {
    if (auto made = make_directory(parent.string()); !made) return made;
  }
  // EEXIST: somebody else made it in between, which is just as good if it is a directory.
  if (::mkdir(path.c_str(), 0700) == 0) {
    // The system's directories hold profiles of different users, as systemd would make them: whoever comes second must
    // get through. Explicitly, because a daemon's umask would take it away again.
    if (path == "/var/lib/talaria" || path == "/run/talaria") (void)::chmod(path.c_str(), 0755);
    sync_directory(parent.empty() ? "." : parent.string());
  } else if (errno != EEXIST) {
    return fail_errno(errno, "create directory " + path);
  }
  return {};
}

}  // namespace

std::string_view to_string(Scope scope) { return scope == Scope::system ? "system" : "user"; }

Result<> check_profile_name(std::string_view name) {
  const auto letter_or_digit = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool good = !name.empty() && name.size() <= 64 && letter_or_digit(name.front());
  for (const char c : name) good = good && (letter_or_digit(c) || c == '_' || c == '-');
  if (good) return {};
  return fail(
      ErrorKind::invalid,
      fmt::format("\"{}\" can't name a profile: 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit",
                  printable(truncate_utf8(name, 64))));
}

Result<ProfilePaths> paths_for(std::string_view profile, Scope scope) {
  if (auto good = check_profile_name(profile); !good) return std::unexpected(good.error());
  ProfilePaths paths;
  paths.profile = profile;
  if (const std::string home = environment_variable("TALARIA_HOME"); !home.empty()) {
    if (!home.starts_with('/')) {
      return fail(ErrorKind::invalid,
                  fmt::format("TALARIA_HOME is \"{}\": it must be an absolute path", printable(home)));
    }
    paths.config_file = home + "/config.toml";
    paths.state_directory = home + "/state";
    paths.runtime_directory = home + "/run";
    return paths;
  }
  Directories directories;
  if (scope == Scope::system) {
    directories = system_directories(profile);
  } else if (auto found = user_directories(profile)) {
    directories = *found;
  } else {
    return std::unexpected(found.error());
  }
  apply_manager(directories, scope, profile);
  paths.config_file = directories.config + "/config.toml";
  paths.state_directory = directories.state;
  paths.runtime_directory = directories.runtime;
  return paths;
}

Result<> make_directories(const ProfilePaths& paths) {
  if (auto made = make_directory(paths.state_directory); !made) return made;
  return make_directory(paths.runtime_directory);
}

}  // namespace talaria
