#include "process/small_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace talaria {

namespace {

// Fills `text` as far as the file goes.
Result<> read_into(int fd, std::string& text, const std::string& name) {
  std::size_t used = 0;
  while (used < text.size()) {
    const ssize_t n = ::pread(fd, text.data() + used, text.size() - used, static_cast<off_t>(used));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("read {}", name));
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  text.resize(used);
  return {};
}

Result<UniqueFd> open_for_reading(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return fail_errno(errno, fmt::format("open {}", path));
  return fd;
}

}  // namespace

Result<std::string> read_small(int fd, std::size_t limit, const std::string& name) {
  std::string text(limit + 1, '\0');
  if (const auto read = read_into(fd, text, name); !read) return std::unexpected(read.error());
  if (text.size() > limit) return fail(ErrorKind::limit, fmt::format("{} is longer than {} bytes", name, limit));
  return text;
}

Result<std::string> read_small_file(const std::string& path, std::size_t limit) {
  const auto fd = open_for_reading(path);
  if (!fd) return std::unexpected(fd.error());
  return read_small(fd->get(), limit, path);
}

Result<std::string> read_beginning(const std::string& path, std::size_t bytes) {
  const auto fd = open_for_reading(path);
  if (!fd) return std::unexpected(fd.error());
  std::string text(bytes, '\0');
  if (const auto read = read_into(fd->get(), text, path); !read) return std::unexpected(read.error());
  return text;
}

Result<> write_at_start(int fd, std::string_view text, const std::string& name) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("write {}", name));
    done += static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace talaria
