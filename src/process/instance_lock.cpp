// Why an open-file-description lock. A PID file is a claim that outlives its author; flock(2) and F_OFD_SETLK are held
// by the open file itself, so that the kernel drops them with their owner, SIGKILL and power cut included, and neither
// a PID that was recycled nor a stale file can be taken for an owner. Of the two only F_OFD_* can be asked without
// being taken (F_OFD_GETLK): a `status` that locked for a moment would make a simultaneous start fail.
//
// The one way to two owners would be the file's replacement: A holds the lock on an inode that no longer has a name, B
// creates a new file and locks that. So nobody unlinks the file, and who locks compares the locked inode with the
// path's afterwards. That still leaves the person who cleans up by hand, so the home's directory is locked first: with
// flock(2), because only that works on a directory, and because /proc/locks names its holder. The owner asks
// path_is_ours() from time to time and restores the file, for those who ask.
//
// Where a file system has no flock on directories (some network ones) the file's lock alone must do.

#include "process/instance_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <cstdint>

#include "process/record_json.h"
#include "process/small_file.h"

namespace talaria {

namespace {

constexpr std::size_t max_record = 16 * 1024;
// Bounds of the texts: whatever they are, a record fits into `padded_record` bytes.
constexpr std::size_t max_unit = 256;  // unit names: systemd.unit(5)
constexpr std::size_t max_version = 128;
constexpr std::size_t max_socket = 256;  // sun_path holds 107, unix(7)
// A reader may come while the owner writes. Blanks up to a fixed size, below one page, let it see the old record or the
// new one: what changes the size of a file shows the new size and the new bytes at different moments.
constexpr std::size_t padded_record = 2048;
constexpr std::int64_t max_unix_millis = 253'402'300'799'999;  // the last one of the year 9999
constexpr int max_tries = 100;

std::string lock_path(const std::string& state_directory) { return state_directory + "/gateway.lock"; }

struct flock whole_file() {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;  // length 0: to the end, wherever that is; l_pid must be 0 (fcntl(2))
}

bool names_this_file(const std::string& path, int fd) {
  struct stat ours{};
  struct stat there{};
  return ::fstat(fd, &ours) == 0 && ::lstat(path.c_str(), &there) == 0 && ours.st_dev == there.st_dev &&
         ours.st_ino == there.st_ino;
}

std::unexpected<Error> no_regular_file(const std::string& path, std::string_view kind) {
  return fail(ErrorKind::invalid, fmt::format("{} is {}, not a regular file; move it away", path, kind));
}

std::unexpected<Error> open_failed(int err, const std::string& path) {
  switch (err) {
    case ELOOP: return no_regular_file(path, "a symbolic link");
    case EISDIR: return no_regular_file(path, "a directory");
    case ENXIO: return no_regular_file(path, "a FIFO, socket or device");
    case EACCES:
    case EPERM:
      return fail(ErrorKind::permission,
                  fmt::format("open {}: permission denied; it must belong to user {} and have mode 0600 "
                              "(chown {} {}; chmod 600 {}) in a directory that this user may enter",
                              path, ::geteuid(), ::geteuid(), path, path));
    default: return fail_errno(err, fmt::format("open {}", path));
  }
}

// A file of ours that even we may not open (chmod 000 by hand) is made ours again.
bool repair_mode(const std::string& path) {
  const UniqueFd there(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat file{};
  if (!there || ::fstat(there.get(), &file) != 0 || !S_ISREG(file.st_mode) || file.st_uid != ::geteuid()) return false;
  return ::chmod(fmt::format("/proc/self/fd/{}", there.get()).c_str(), 0600) == 0;
}

// Opens what stands at `path` without following a link and without waiting for a FIFO's other end.
Result<UniqueFd> open_plain(const std::string& path, int flags) {
  UniqueFd fd;
  do {
    fd = UniqueFd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600));
  } while (!fd && errno == EINTR);
  if (!fd) return open_failed(errno, path);
  struct stat file{};
  if (::fstat(fd.get(), &file) != 0) return fail_errno(errno, fmt::format("fstat {}", path));
  if (S_ISDIR(file.st_mode)) return no_regular_file(path, "a directory");
  if (!S_ISREG(file.st_mode)) return no_regular_file(path, "a FIFO, socket or device");
  return fd;
}

// Root in a user's home leaves a file that the user can use later.
void give_to_owner_of(const std::string& directory, int fd) {
  struct stat there{};
  if (::geteuid() != 0 || ::stat(directory.c_str(), &there) != 0 || there.st_uid == 0) return;
  // Without success the user is told what to do at the next start.
  [[maybe_unused]] const int ignored = ::fchown(fd, there.st_uid, there.st_gid);
}

Result<UniqueFd> open_or_create(const std::string& state_directory, const std::string& path) {
  // First without O_CREAT: in a sticky directory the kernel refuses O_CREAT on a foreign file even to root
  // (fs.protected_regular), and the message would be misleading.
  auto fd = open_plain(path, O_RDWR);
  if (!fd && fd.error().kind == ErrorKind::permission && repair_mode(path)) fd = open_plain(path, O_RDWR);
  if (fd || fd.error().kind != ErrorKind::not_found) return fd;
  fd = open_plain(path, O_RDWR | O_CREAT);
  if (fd) give_to_owner_of(state_directory, fd->get());
  return fd;
}

Result<LockRecord> read_record(int fd, const std::string& path) {
  // The owner may be copying its bytes at this moment: one read may see half of them, three hardly.
  Result<LockRecord> record;
  for (int tries = 0; tries < 3; ++tries) {
    const auto text = read_small(fd, max_record, path);
    record = text ? parse_lock_record(*text) : Result<LockRecord>(std::unexpected(text.error()));
    if (record) break;
  }
  return record;
}

// The owner in words, as far as the file tells.
std::string owner_words(int fd, const std::string& path) {
  const auto record = read_record(fd, path);
  if (!record) return "another process";
  if (record->unit.empty()) return fmt::format("process {}", record->incarnation.pid);
  return fmt::format("process {} ({} unit {})", record->incarnation.pid, record->scope, record->unit);
}

// The directory's lock. An empty descriptor: the file system has no such lock.
Result<UniqueFd> lock_home(const std::string& state_directory) {
  UniqueFd home(::open(state_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!home) {
    if (errno == EACCES) return UniqueFd();  // may be entered but not listed; the file decides
    return fail_errno(errno, fmt::format("open {}", state_directory));
  }
  for (;;) {
    if (::flock(home.get(), LOCK_EX | LOCK_NB) == 0) return home;
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return fail(ErrorKind::conflict, fmt::format("{} is owned", state_directory));
    return UniqueFd();
  }
}

Result<> lock_file(int fd, const std::string& path) {
  for (;;) {
    struct flock lock = whole_file();
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EACCES) return fail_errno(errno, fmt::format("lock {}", path));
    return fail(ErrorKind::conflict, fmt::format("{} is locked by {}", path, owner_words(fd, path)));
  }
}

}  // namespace

std::string format_lock_record(const LockRecord& record) {
  boost::json::object object;
  put_incarnation(object, record.incarnation);
  object["scope"] = record_text(record.scope, 16);
  object["unit"] = record_text(record.unit, max_unit);
  object["version"] = record_text(record.version, max_version);
  object["control_socket"] = record_text(record.control_socket, max_socket);
  object["since"] = record.since;
  return boost::json::serialize(object) + "\n";
}

Result<LockRecord> parse_lock_record(std::string_view text) {
  const auto object = parse_record(text, max_record, "the lock record");
  if (!object) return std::unexpected(object.error());
  LockRecord record;
  Result<> problem;
  const auto into = [&problem](auto& member, auto value) {
    if (!problem) return;
    if (value)
      member = std::move(*value);
    else
      problem = std::unexpected(value.error());
  };
  into(record.incarnation, incarnation_members(*object));
  into(record.scope, text_member(*object, "scope", 16));
  into(record.unit, text_member(*object, "unit", max_unit));
  into(record.version, text_member(*object, "version", max_version));
  into(record.control_socket, text_member(*object, "control_socket", max_socket));
  into(record.since, number_member(*object, "since", 0, max_unix_millis));
  constexpr std::array scopes{"user", "system", "none", "container", "runit", "s6", "supervisord", "launchd"};
  if (problem && std::ranges::find(scopes, record.scope) == scopes.end())
    problem = fail(ErrorKind::invalid, "\"scope\" names no service manager that we know");
  if (!problem) return fail(ErrorKind::invalid, fmt::format("the lock record is wrong: {}", problem.error().what));
  return record;
}

Result<InstanceLock> InstanceLock::acquire(const std::string& state_directory) {
  const std::string path = lock_path(state_directory);
  for (int tries = 0; tries < max_tries; ++tries) {
    auto home = lock_home(state_directory);
    if (!home) {
      if (home.error().kind != ErrorKind::conflict) return std::unexpected(home.error());
      const auto file = open_plain(path, O_RDONLY);
      return fail(ErrorKind::conflict,
                  fmt::format("{} is locked by {}", path, file ? owner_words(file->get(), path) : "another process"));
    }
    auto fd = open_or_create(state_directory, path);
    if (!fd) return std::unexpected(fd.error());
    const auto locked = lock_file(fd->get(), path);
    if (!names_this_file(path, fd->get())) continue;
    if (!locked) return std::unexpected(locked.error());
    InstanceLock result;
    result.home_ = std::move(*home);
    result.fd_ = std::move(*fd);
    result.directory_ = state_directory;
    result.path_ = path;
    return result;
  }
  return fail(ErrorKind::unavailable, fmt::format("{} is being replaced all the time; find out who deletes it", path));
}

Result<InstanceLock> InstanceLock::adopt(const std::string& state_directory, UniqueFd file, UniqueFd home) {
  InstanceLock result;
  result.home_ = std::move(home);
  result.fd_ = std::move(file);
  result.directory_ = state_directory;
  result.path_ = lock_path(state_directory);
  // Locking once more what the same open file holds succeeds and changes nothing (fcntl(2), flock(2)).
  if (const auto locked = lock_file(result.fd_.get(), result.path_); !locked) return std::unexpected(locked.error());
  if (result.home_ && ::flock(result.home_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(ErrorKind::conflict, fmt::format("{} is owned by another process", state_directory));
  for (const int fd : {result.fd_.get(), result.home_.get()})
    if (fd >= 0 && ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return fail_errno(errno, "take over the lock");
  return result;
}

Result<> InstanceLock::write(const LockRecord& record) {
  record_ = record;
  std::string text = format_lock_record(record);
  // What can't be read back would inform nobody.
  if (const auto again = parse_lock_record(text); !again) return std::unexpected(again.error());
  text.insert(text.size() - 1, padded_record - std::min(text.size(), padded_record), ' ');
  if (const auto written = write_at_start(fd_.get(), text, path_); !written) return written;
  struct stat file{};
  if (::fstat(fd_.get(), &file) != 0) return fail_errno(errno, fmt::format("fstat {}", path_));
  if (file.st_size == static_cast<off_t>(text.size())) return {};
  int result = 0;
  do {
    result = ::ftruncate(fd_.get(), static_cast<off_t>(text.size()));
  } while (result != 0 && errno == EINTR);
  if (result != 0) return fail_errno(errno, fmt::format("truncate {}", path_));
  return {};
}

bool InstanceLock::path_is_ours() const { return names_this_file(path_, fd_.get()); }

Result<> InstanceLock::restore() {
  if (home_ && !names_this_file(directory_, home_.get()))
    return fail(ErrorKind::not_found, fmt::format("{} was deleted or replaced while it was in use", directory_));
  for (int tries = 0; tries < max_tries; ++tries) {
    auto fd = open_or_create(directory_, path_);
    if (!fd) return std::unexpected(fd.error());
    const auto locked = lock_file(fd->get(), path_);
    if (!names_this_file(path_, fd->get())) continue;
    if (!locked) return std::unexpected(locked.error());
    fd_ = std::move(*fd);
    return record_ ? write(*record_) : Result<>{};
  }
  return fail(ErrorKind::unavailable, fmt::format("{} is being replaced all the time; find out who deletes it", path_));
}

std::optional<pid_t> parse_proc_locks(std::string_view text, unsigned device_major, unsigned device_minor,
                                      std::uint64_t inode) {
  // "7: FLOCK  ADVISORY  WRITE 4711 00:31:1234 0 EOF"; a waiting one has "->" after its number and holds nothing.
  const std::string place = fmt::format("{:02x}:{:02x}:{}", device_major, device_minor, inode);
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::array<std::string_view, 6> words;
    std::size_t count = 0;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (count < words.size()) {
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      if (line.empty()) break;
      const auto length = std::min(line.find(' '), line.size());
      words[count++] = line.substr(0, length);
      line.remove_prefix(length);
    }
    if (count < words.size() || words[1] != "FLOCK" || words[3] != "WRITE" || words[5] != place) continue;
    pid_t pid = 0;
    const auto [rest, error] = std::from_chars(words[4].begin(), words[4].end(), pid);
    if (error == std::errc{} && rest == words[4].end() && pid > 0) return pid;
  }
  return {};
}

Result<Incarnation> find_home_owner(const std::string& state_directory) {
  struct stat home{};
  if (::stat(state_directory.c_str(), &home) != 0) return fail_errno(errno, fmt::format("look at {}", state_directory));
  constexpr std::size_t many = 4 * 1024 * 1024;  // some 60 000 locks
  const auto text = read_beginning("/proc/locks", many);
  if (!text) return std::unexpected(text.error());
  const auto pid = parse_proc_locks(*text, major(home.st_dev), minor(home.st_dev), home.st_ino);
  if (!pid) return fail(ErrorKind::not_found, fmt::format("/proc/locks names nobody that owns {}", state_directory));
  return incarnation_of(*pid);
}

Result<LockQuestion> ask_instance_lock(const std::string& state_directory) {
  const std::string path = lock_path(state_directory);
  LockQuestion answer;
  for (int tries = 0; tries < max_tries; ++tries) {
    const auto fd = open_plain(path, O_RDONLY);
    if (!fd && fd.error().kind == ErrorKind::not_found) {
      answer.problem = fmt::format("{} does not exist", path);
      return answer;
    }
    if (!fd) return std::unexpected(fd.error());
    struct flock lock = whole_file();
    if (::fcntl(fd->get(), F_OFD_GETLK, &lock) != 0)
      return fail_errno(errno, fmt::format("ask for the lock on {}", path));
    answer.held = lock.l_type != F_UNLCK;
    auto record = read_record(fd->get(), path);
    if (!names_this_file(path, fd->get())) continue;
    if (record)
      answer.record = std::move(*record);
    else
      answer.problem = fmt::format("{}: {}", path, record.error().what);
    return answer;
  }
  return fail(ErrorKind::unavailable, fmt::format("{} is being replaced all the time; find out who deletes it", path));
}

}  // namespace talaria
