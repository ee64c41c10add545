#include "store/attachment_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/fd.h"
#include "base/random.h"

namespace talaria {
namespace {

std::unexpected<Error> failed(std::string_view what, const std::string& path) {
  return fail_errno(errno, fmt::format("{} {}", what, path));
}

// ".png" of "photo.png"; nothing that a shell or a path would see in another light.
std::string plain_extension(std::string_view name) {
  constexpr std::size_t longest = 9;
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || name.size() - dot > longest || name.size() - dot < 2) return {};
  const auto extension = name.substr(dot + 1);
  const bool plain = std::ranges::all_of(
      extension, [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); });
  return plain ? "." + std::string(extension) : std::string();
}

Result<> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("write", path);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

// A name is safe only when its directory is.
Result<> sync_directory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return failed("sync", path);
  return {};
}

}  // namespace

Result<std::string> keep_attachment_file(const std::string& directory, std::string_view name, std::string_view bytes) {
  if (::mkdir(directory.c_str(), 0700) == 0) {
    if (auto ok = sync_directory(std::filesystem::path(directory).parent_path()); !ok)
      return std::unexpected(ok.error());
  } else if (errno != EEXIST) {
    return failed("make", directory);
  }
  std::string path = fmt::format("{}/{}{}", directory, random_id(20), plain_extension(name));
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return failed("create", path);
  auto written = write_all(fd.get(), bytes, path);
  if (written && ::fsync(fd.get()) != 0) written = failed("sync", path);
  if (written) written = sync_directory(directory);
  if (!written) {
    (void)::unlink(path.c_str());
    return std::unexpected(written.error());
  }
  return path;
}

int retire_attachment_files(const std::string& directory, UnixMillis before) {
  std::error_code ignored;
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    struct stat found{};
    if (::lstat(entry.path().c_str(), &found) != 0 || !S_ISREG(found.st_mode)) continue;
    const UnixMillis written = UnixMillis{found.st_mtim.tv_sec} * 1000 + found.st_mtim.tv_nsec / 1'000'000;
    if (written < before) old.push_back(entry.path());
  }
  for (const auto& path : old) (void)::unlink(path.c_str());
  return static_cast<int>(old.size());
}

}  // namespace talaria
