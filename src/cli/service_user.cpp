#include "cli/service_user.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "base/fd.h"

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

// A file or directory whose permissions are to change. It is held: whoever owns the directory around it may put another
// in its place meanwhile, a link to /etc/shadow, say.
struct Held {
  UniqueFd fd;  // O_PATH
  struct stat status{};
  std::string path;
};

// `type`: S_IFREG or S_IFDIR. permission: it is something else, or a file that has another name elsewhere.
Result<Held> hold(const std::string& path, mode_t type) {
  Held held{UniqueFd(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)), {}, path};
  if (!held.fd) return fail_errno(errno, "open " + path);
  if (::fstat(held.fd.get(), &held.status) < 0) return fail_errno(errno, "stat " + path);
  const bool linked = type == S_IFREG && held.status.st_nlink != 1;
  if ((held.status.st_mode & S_IFMT) == type && !linked) return held;
  const char* what = S_ISLNK(held.status.st_mode)             ? "a symbolic link"
                     : linked && S_ISREG(held.status.st_mode) ? "a file with more than one name (hard links)"
                                                              : (type == S_IFREG ? "not a file" : "not a directory");
  return fail(
      ErrorKind::permission,
      fmt::format("{} is {}, and what that leads to is not given away: put a {} there, or let the service's user "
                  "read it yourself",
                  path, what, type == S_IFREG ? "file of its own" : "directory"));
}

Result<> change_group(const Held& held, gid_t group) {
  if (::fchownat(held.fd.get(), "", static_cast<uid_t>(-1), group, AT_EMPTY_PATH) < 0)
    return fail_errno(errno, "chgrp " + held.path);
  return {};
}

Result<> change_mode(const Held& held, mode_t mode) {
  // fchmod(2) refuses such a descriptor; its entry in /proc leads to the file that it holds.
  if (::chmod(fmt::format("/proc/self/fd/{}", held.fd.get()).c_str(), mode) < 0)
    return fail_errno(errno, "chmod " + held.path);
  return {};
}

Result<std::string> let_read(const ServiceUser& user, const std::string& path) {
  constexpr mode_t read = 4;
  struct stat found{};
  if (::stat(path.c_str(), &found) < 0) return fail_errno(errno, "stat " + path);
  if (may(user, found, read)) return "";
  const auto held = hold(path, S_IFREG);
  if (!held) return std::unexpected(held.error());
  if (held->status.st_uid == user.uid) {
    if (auto ok = change_mode(*held, (held->status.st_mode & 07777) | (read << 6)); !ok)
      return std::unexpected(ok.error());
    return fmt::format("gave {} access to its own {}", user.name, path);
  }
  if (auto ok = change_group(*held, user.gid); !ok) return std::unexpected(ok.error());
  if (auto ok = change_mode(*held, (held->status.st_mode & 07707) | (read << 3)); !ok)
    return std::unexpected(ok.error());
  return fmt::format("gave the group of {} access to {}", user.name, path);
}

// The profile's own directory is for root and the user's group alone, with the unit's ConfigurationDirectoryMode=: the
// manager would warn about another one at every start.
Result<std::string> close_directory(const ServiceUser& user, const std::string& path) {
  constexpr mode_t mode = 0750;
  const auto is_its_own = [&](const struct stat& of) { return of.st_uid == user.uid || of.st_gid == user.gid; };
  struct stat found{};
  if (::stat(path.c_str(), &found) < 0) return fail_errno(errno, "stat " + path);
  if ((found.st_mode & 07777) == mode && is_its_own(found)) return "";
  const auto held = hold(path, S_IFDIR);
  if (!held) return std::unexpected(held.error());
  if (!is_its_own(held->status))
    if (auto ok = change_group(*held, user.gid); !ok) return std::unexpected(ok.error());
  if (auto ok = change_mode(*held, mode); !ok) return std::unexpected(ok.error());
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
  const auto held = hold(path, S_IFDIR);
  if (!held) return std::unexpected(held.error());
  if (auto ok = change_mode(*held, (held->status.st_mode & 07777) | 0755); !ok) return std::unexpected(ok.error());
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
  const auto directory = std::filesystem::path(paths.config_file).parent_path();
  std::vector<std::string> changes;
  const auto parent_of = [](const std::filesystem::path& path) { return path.parent_path().string(); };
  const std::initializer_list<std::function<Result<std::string>()>> steps{
      [&] { return open_parent(parent_of(directory)); },
      [&] { return open_parent(parent_of(paths.state_directory)); },
      [&] { return open_parent(parent_of(paths.runtime_directory)); },
      [&] { return close_directory(user, directory.string()); },
      [&] { return let_read(user, paths.config_file); },
  };
  for (const auto& step : steps) {
    auto change = step();
    if (!change) return std::unexpected(change.error());
    if (!change->empty()) changes.push_back(std::move(*change));
  }
  return changes;
}

}  // namespace talaria::cli
