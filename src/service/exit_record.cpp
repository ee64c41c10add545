#include "service/exit_record.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <charconv>
#include <cstdio>

#include "base/fd.h"
#include "base/text.h"
#include "process/small_file.h"

namespace talaria {
namespace {

std::string short_text(std::string_view text) { return printable(truncate_utf8(text, 64)); }

// The whole lines of the newer half. The last one may lack its end: whoever wrote it had no more room.
std::string newer_half(std::string_view text) {
  text = text.substr(0, text.rfind('\n') + 1);
  const auto newline = text.find('\n', text.size() / 2);
  return newline == std::string_view::npos ? "" : std::string(text.substr(newline + 1));
}

Result<UniqueFd> open_regular(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "open " + path);
  struct stat found{};
  if (::fstat(fd.get(), &found) < 0) return fail_errno(errno, "stat " + path);
  if (!S_ISREG(found.st_mode)) return fail(ErrorKind::invalid, path + " is not a regular file: move it away");
  return fd;
}

Result<> write_line(const UniqueFd& fd, std::string_view line, const std::string& path) {
  const auto n = ::write(fd.get(), line.data(), line.size());  // O_APPEND: whole, or the disk is full
  if (n < 0) return fail_errno(errno, "write " + path);
  if (static_cast<std::size_t>(n) != line.size()) return fail_errno(ENOSPC, "write " + path);
  return {};
}

Result<> shorten(const std::string& path, std::size_t size) {
  auto old = open_regular(path, O_RDONLY);
  if (!old) return std::unexpected(old.error());
  std::string kept;
  // Far above the limit we never wrote it: begin anew.
  if (size <= 2 * max_exit_log) {
    auto text = read_small(old->get(), 2 * max_exit_log, path);
    if (!text) return std::unexpected(text.error());
    kept = newer_half(*text);
  }
  const auto temporary = path + ".new";
  ::unlink(temporary.c_str());
  auto file = open_regular(temporary, O_WRONLY | O_CREAT | O_EXCL);
  if (!file) return std::unexpected(file.error());
  if (auto written = write_line(*file, kept, temporary); !written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) < 0) return fail_errno(errno, "rename " + temporary);
  return {};
}

}  // namespace

std::string format_exit_record(const ExitRecord& record) {
  const boost::json::object line{{"at", record.at},
                                 {"service_result", short_text(record.service_result)},
                                 {"exit_code", short_text(record.exit_code)},
                                 {"exit_status", short_text(record.exit_status)},
                                 {"pid", record.pid},
                                 {"invocation_id", short_text(record.invocation_id)},
                                 {"oom_kills", record.oom_kills}};
  return boost::json::serialize(line) + "\n";
}

std::int64_t oom_kills_here() {
  constexpr std::size_t most = 64 * 1024;
  const auto cgroups = read_small_file("/proc/self/cgroup", most);
  if (!cgroups) return 0;
  // "0::/system.slice/x.service": the unified hierarchy's line (cgroups(7)).
  const auto at = cgroups->starts_with("0::") ? 0 : cgroups->find("\n0::");
  if (at == std::string::npos) return 0;
  const auto from = cgroups->find("::", at) + 2;
  const auto path = cgroups->substr(from, cgroups->find('\n', from) - from);
  const auto events = read_small_file("/sys/fs/cgroup" + path + "/memory.events", most);
  if (!events) return 0;
  constexpr std::string_view key = "\noom_kill ";
  const auto found = events->find(key);
  std::int64_t count = 0;
  if (found != std::string::npos)
    std::from_chars(events->data() + found + key.size(), events->data() + events->size(), count);
  return count;
}

Result<> append_exit_record(const std::string& state_directory, const ExitRecord& record) {
  return append_exit_line(state_directory, format_exit_record(record));
}

Result<> append_exit_line(const std::string& state_directory, std::string_view line) {
  const auto path = state_directory + "/exits.jsonl";
  auto fd = open_regular(path, O_WRONLY | O_APPEND | O_CREAT);
  if (!fd) return std::unexpected(fd.error());
  struct stat found{};
  if (::fstat(fd->get(), &found) < 0) return fail_errno(errno, "stat " + path);
  const auto size = static_cast<std::size_t>(found.st_size);
  if (size + line.size() > max_exit_log) {
    if (auto done = shorten(path, size); !done) return done;
    fd = open_regular(path, O_WRONLY | O_APPEND | O_CREAT);
    if (!fd) return std::unexpected(fd.error());
  }
  return write_line(*fd, line, path);
}

void keep_exit_log_short(const std::string& state_directory) {
  const auto path = state_directory + "/exits.jsonl";
  struct stat found{};
  if (::stat(path.c_str(), &found) < 0 || static_cast<std::size_t>(found.st_size) <= max_exit_log) return;
  (void)shorten(path, static_cast<std::size_t>(found.st_size));  // the next start tries again
}

}  // namespace talaria
