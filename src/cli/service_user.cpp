#include "cli/service_user.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace talaria::cli {
namespace {

// Runs a program to its end; its output goes to ours.
Result<> run(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (const int e = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ); e != 0)
    return fail_errno(e, "run " + arguments[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return fail_errno(errno, "wait for " + arguments[0]);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(ErrorKind::unavailable, arguments[0] + " failed");
}

// Has the user one of the permission's bits (in the "other" position: 4 read, 1 search)?
bool may(const ServiceUser& user, const struct stat& of, mode_t bits) {
  if (user.uid == 0) return true;
  if (of.st_uid == user.uid) return (of.st_mode & (bits << 6)) == (bits << 6);
  if (std::ranges::find(user.groups, of.st_gid) != user.groups.end()) return (of.st_mode & (bits << 3)) == (bits << 3);
  return (of.st_mode & bits) == bits;
}

Result<std::string> allow(const ServiceUser& user, const std::string& path, mode_t bits) {
  struct stat found{};
  if (::stat(path.c_str(), &found) < 0) return fail_errno(errno, "stat " + path);
  if (may(user, found, bits)) return "";
  if (found.st_uid == user.uid) {
    if (::chmod(path.c_str(), (found.st_mode & 07777) | (bits << 6)) < 0) return fail_errno(errno, "chmod " + path);
    return fmt::format("gave {} access to its own {}", user.name, path);
  }
  if (::chown(path.c_str(), static_cast<uid_t>(-1), user.gid) < 0) return fail_errno(errno, "chgrp " + path);
  if (::chmod(path.c_str(), (found.st_mode & 07707) | (bits << 3)) < 0) return fail_errno(errno, "chmod " + path);
  return fmt::format("gave the group of {} access to {}", user.name, path);
}

// The profile's own directory is for root and the user's group alone, with the unit's ConfigurationDirectoryMode=: the
// manager would warn about another one at every start.
Result<std::string> close_directory(const ServiceUser& user, const std::string& path) {
  constexpr mode_t mode = 0750;
  struct stat found{};
  if (::stat(path.c_str(), &found) < 0) return fail_errno(errno, "stat " + path);
  const bool its_own = found.st_uid == user.uid || found.st_gid == user.gid;
  if ((found.st_mode & 07777) == mode && its_own) return "";
  if (!its_own && ::chown(path.c_str(), static_cast<uid_t>(-1), user.gid) < 0)
    return fail_errno(errno, "chgrp " + path);
  if (::chmod(path.c_str(), mode) < 0) return fail_errno(errno, "chmod " + path);
  return fmt::format("closed {} to all but its owner and the group of {} (mode {:04o})", path, user.name, mode);
}

// A directory that holds the profiles of several users: all may pass, each profile's own directory is closed. One that
// root made with a strict umask (or a gateway run by hand) would keep every service out.
Result<std::string> open_parent(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) < 0) {
    if (errno == ENOENT) return "";  // systemd makes it
    return fail_errno(errno, "stat " + path);
  }
  if ((found.st_mode & 0755) == 0755) return "";
  if (::chmod(path.c_str(), (found.st_mode & 07777) | 0755) < 0) return fail_errno(errno, "chmod " + path);
  return fmt::format("let services pass through {}", path);
}

}  // namespace

Result<ServiceUser> find_user(const std::string& name) {
  errno = 0;
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) {
    if (errno != 0 && errno != ENOENT && errno != ESRCH) return fail_errno(errno, "look up user " + name);
    return fail(ErrorKind::not_found, fmt::format("there is no user \"{}\"", name));
  }
  ServiceUser user{name, entry->pw_uid, entry->pw_gid, {}};
  int count = 64;
  user.groups.resize(static_cast<std::size_t>(count));
  if (::getgrouplist(name.c_str(), user.gid, user.groups.data(), &count) < 0) {
    user.groups.resize(static_cast<std::size_t>(count));
    (void)::getgrouplist(name.c_str(), user.gid, user.groups.data(), &count);
  }
  user.groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return user;
}

Result<> create_system_user(const std::string& name) {
  auto made = run({"systemd-sysusers", "--inline", fmt::format("u {} - \"Talaria gateway\" /var/lib/talaria", name)});
  if (made && find_user(name)) return {};
  return fail(
      ErrorKind::unavailable,
      fmt::format(
          "the user \"{}\" could not be made{}{}: make it with `useradd --system --home-dir /var/lib/talaria {}`, or "
          "choose another with --run-as-user",
          name, made ? "" : ": ", made ? "" : made.error().what, name));
}

Result<std::vector<std::string>> let_use(const ServiceUser& user, const ProfilePaths& paths) {
  constexpr mode_t read = 4;
  const auto directory = std::filesystem::path(paths.config_file).parent_path();
  std::vector<std::string> changes;
  const auto parent_of = [](const std::filesystem::path& path) { return path.parent_path().string(); };
  for (auto change : {open_parent(parent_of(directory)), open_parent(parent_of(paths.state_directory)),
                      open_parent(parent_of(paths.runtime_directory)), close_directory(user, directory.string()),
                      allow(user, paths.config_file, read)}) {
    if (!change) return std::unexpected(change.error());
    if (!change->empty()) changes.push_back(std::move(*change));
  }
  return changes;
}

}  // namespace talaria::cli
