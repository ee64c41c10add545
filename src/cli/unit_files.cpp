#include "cli/unit_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "process/small_file.h"
#include "service/units.h"

namespace talaria::cli {
namespace fs = std::filesystem;
namespace {

// not_found: there is no such file.
Result<std::string> read_ours(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open " + path);
  auto text = read_small(fd.get(), largest_unit_file, path);
  if (text && !is_our_file(*text))
    return fail(ErrorKind::conflict,
                path + " was not written by talaria: move it away, or keep it and do without install");
  return text;
}

}  // namespace

Result<Written> write_our_file(const std::string& path, const std::string& text) {
  const auto old = read_ours(path);
  if (!old && old.error().kind != ErrorKind::not_found) return std::unexpected(old.error());
  if (old && *old == text) return Written::unchanged;
  std::error_code ec;
  const mode_t callers = ::umask(022);  // a person with a strict one shares the directories with everybody, too
  fs::create_directories(fs::path(path).parent_path(), ec);
  ::umask(callers);
  if (ec) return fail_errno(ec.value(), "create directory " + fs::path(path).parent_path().string());
  const auto temporary = path + ".new";
  ::unlink(temporary.c_str());
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return fail_errno(errno, "write " + temporary);
  auto done = write_at_start(fd.get(), text, temporary);
  if (done && ::fchmod(fd.get(), 0644) < 0) done = fail_errno(errno, "chmod " + temporary);
  if (done && ::fsync(fd.get()) < 0) done = fail_errno(errno, "write " + temporary);
  if (done && ::rename(temporary.c_str(), path.c_str()) < 0) done = fail_errno(errno, "rename " + temporary);
  if (!done) {
    ::unlink(temporary.c_str());
    return std::unexpected(done.error());
  }
  return old ? Written::updated : Written::created;
}

Result<bool> remove_our_file(const std::string& path) {
  const auto old = read_ours(path);
  if (!old && old.error().kind == ErrorKind::not_found) return false;
  if (!old) return std::unexpected(old.error());
  if (::unlink(path.c_str()) < 0) return fail_errno(errno, "remove " + path);
  return true;
}

std::string unit_directory(Scope scope, const std::string& config_home) {
  return scope == Scope::system ? "/etc/systemd/system" : config_home + "/systemd/user";
}

std::string user_drop_in_path(const std::string& directory, const std::string& unit) {
  return fmt::format("{}/{}.d/50-run-as-user.conf", directory, unit);
}

std::optional<std::string> value_of(const std::vector<std::string>& environment, std::string_view name) {
  for (const auto& entry : environment)
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return entry.substr(name.size() + 1);
  return {};
}

std::string config_home_of(const std::vector<std::string>& environment) {
  if (const auto config = value_of(environment, "XDG_CONFIG_HOME"); config && config->starts_with('/')) return *config;
  const auto home = value_of(environment, "HOME");
  return home && home->starts_with('/') ? *home + "/.config" : "";
}

std::vector<std::string> other_enabled_instances(const std::string& directory, const std::string& unit) {
  std::vector<std::string> found;
  std::error_code ec;
  for (const auto& wants : fs::directory_iterator(directory, ec)) {
    const auto kind = wants.path().extension();
    if (kind != ".wants" && kind != ".requires") continue;
    std::error_code ignored;
    for (const auto& link : fs::directory_iterator(wants.path(), ignored)) {
      const auto name = link.path().filename().string();
      if (name.starts_with("talaria-gateway@") && name != unit) found.push_back(name);
    }
  }
  return found;
}

}  // namespace talaria::cli
