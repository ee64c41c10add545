#include "process/announcement.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "base/random.h"
#include "process/record_json.h"
#include "process/small_file.h"

namespace talaria {

namespace {

constexpr const char* marker_name = "stop.announcement";
constexpr std::size_t max_announcement = 4096;
constexpr std::size_t max_by = 1024;

// A name of our own in the directory, so that nothing of anybody else's is touched.
std::string private_name(std::string_view purpose) {
  return fmt::format(".{}.{}.{}", marker_name, purpose, random_id(16));
}

// The directory, held open: what happens to its name meanwhile is no matter. A symbolic link in the last place counts
// only when root or we made it (systemd makes such ones), else a user could send root's writes anywhere.
Result<UniqueFd> open_directory(const std::string& path) {
  struct stat link{};
  if (::lstat(path.c_str(), &link) != 0) return fail_errno(errno, fmt::format("open directory {}", path));
  const bool trusted_link = S_ISLNK(link.st_mode) && (link.st_uid == 0 || link.st_uid == ::geteuid());
  if (S_ISLNK(link.st_mode) && !trusted_link)
    return fail(ErrorKind::permission, fmt::format("{} is a symbolic link of user {}; remove it", path, link.st_uid));
  UniqueFd fd(::open(path.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC | (trusted_link ? 0 : O_NOFOLLOW)));
  if (!fd) return fail_errno(errno, fmt::format("open directory {}", path));
  return fd;
}

// Removes its file unless told otherwise.
class TemporaryFile {
 public:
  TemporaryFile(int directory, std::string name) : directory_(directory), name_(std::move(name)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!name_.empty()) ::unlinkat(directory_, name_.c_str(), 0);
  }
  [[nodiscard]] const char* name() const { return name_.c_str(); }
  void keep() { name_.clear(); }

 private:
  int directory_;
  std::string name_;
};

// Reads the marker under the private name it was given.
Result<Announcement> read_marker(int directory, const char* name) {
  const UniqueFd fd(::openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd && errno == ELOOP) return fail(ErrorKind::invalid, "it is a symbolic link");
  if (!fd) return fail_errno(errno, "open");
  struct stat file{};
  if (::fstat(fd.get(), &file) != 0) return fail_errno(errno, "fstat");
  if (!S_ISREG(file.st_mode)) return fail(ErrorKind::invalid, "it is no regular file");
  if (file.st_uid != 0 && file.st_uid != ::geteuid())
    return fail(ErrorKind::permission, fmt::format("it belongs to user {}, not to root or to us", file.st_uid));
  if ((file.st_mode & (S_IWGRP | S_IWOTH)) != 0) return fail(ErrorKind::permission, "others may write to it");
  const auto text = read_small(fd.get(), max_announcement, "it");
  if (!text) return std::unexpected(text.error());
  return parse_announcement(*text);
}

}  // namespace

std::int64_t boottime_now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

std::string format_announcement(const Announcement& announcement) {
  boost::json::object object;
  put_incarnation(object, announcement.target);
  object["by"] = record_text(announcement.by, max_by);
  object["boottime_ms"] = announcement.boottime_ms;
  return boost::json::serialize(object) + "\n";
}

Result<Announcement> parse_announcement(std::string_view text) {
  const auto object = parse_record(text, max_announcement, "the announcement");
  if (!object) return std::unexpected(object.error());
  auto target = incarnation_members(*object);
  if (!target) return std::unexpected(target.error());
  auto by = text_member(*object, "by", max_by);
  if (!by) return std::unexpected(by.error());
  const auto made = number_member(*object, "boottime_ms", 0, INT64_MAX);
  if (!made) return std::unexpected(made.error());
  return Announcement{std::move(*target), std::move(*by), *made};
}

bool is_valid_for(const Announcement& announcement, const Incarnation& self, std::int64_t boottime_ms) {
  if (announcement.target != self || announcement.boottime_ms < 0 || announcement.boottime_ms > boottime_ms)
    return false;
  return boottime_ms - announcement.boottime_ms <= announcement_lifetime_ms;
}

Result<> leave_announcement(const std::string& runtime_directory, const Announcement& announcement) {
  const std::string text = format_announcement(announcement);
  if (const auto again = parse_announcement(text); !again) return std::unexpected(again.error());
  const auto directory = open_directory(runtime_directory);
  if (!directory) return std::unexpected(directory.error());
  struct stat there{};
  if (::fstat(directory->get(), &there) != 0) return fail_errno(errno, fmt::format("fstat {}", runtime_directory));
  const std::string name = private_name("new");
  const std::string path = runtime_directory + "/" + name;
  const UniqueFd fd(
      ::openat(directory->get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, fmt::format("create {}", path));
  TemporaryFile temporary(directory->get(), name);
  // The one it is meant for must be able to read it: what root writes for a user belongs to root.
  const mode_t mode = there.st_uid == ::geteuid() ? 0600 : 0644;
  if (::fchmod(fd.get(), mode) != 0) return fail_errno(errno, fmt::format("chmod {}", path));
  if (const auto written = write_at_start(fd.get(), text, path); !written) return written;
  if (::renameat(directory->get(), temporary.name(), directory->get(), marker_name) != 0)
    return fail_errno(errno, fmt::format("rename {} to {}/{}", path, runtime_directory, marker_name));
  temporary.keep();
  return {};
}

std::optional<Announcement> take_announcement(const std::string& runtime_directory, const Incarnation& self,
                                              std::string* why) {
  const auto nothing = [&](std::string reason) {
    if (why != nullptr) *why = fmt::format("{}/{}: {}", runtime_directory, marker_name, reason);
    return std::nullopt;
  };
  const auto directory = open_directory(runtime_directory);
  if (!directory) return nothing(directory.error().what);
  // Taken by renaming: exactly this file is consumed, and one that is left at the same moment stays for the next look.
  const std::string name = private_name("taken");
  if (::renameat(directory->get(), marker_name, directory->get(), name.c_str()) != 0) {
    if (errno == ENOENT) return nothing("there is none");
    return nothing(fail_errno(errno, "it can't be removed, so it does not count").error().what);
  }
  auto announcement = read_marker(directory->get(), name.c_str());
  if (::unlinkat(directory->get(), name.c_str(), 0) != 0 && errno == EISDIR)
    ::unlinkat(directory->get(), name.c_str(), AT_REMOVEDIR);
  if (!announcement) return nothing(announcement.error().what);
  if (announcement->target != self)
    return nothing(fmt::format("it is meant for {}, not for {}", to_string(announcement->target), to_string(self)));
  const std::int64_t now = boottime_now_ms();
  if (!is_valid_for(*announcement, self, now))
    return nothing(fmt::format("its age of {} ms is not from 0 to {} ms", now - announcement->boottime_ms,
                               announcement_lifetime_ms));
  return std::move(*announcement);
}

}  // namespace talaria
