#include "gateway/answer_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/fd.h"
#include "base/text.h"
#include "store/attachment_files.h"

namespace talaria {
namespace {

constexpr std::string_view prefix = "MEDIA:";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// The file below the root; what leads out of it, or through a magic link of /proc, does not open.
UniqueFd open_beneath(const std::string& root, const std::string& inside) {
  const UniqueFd at(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at) return UniqueFd();
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;  // a FIFO must not hold us up
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return UniqueFd(static_cast<int>(::syscall(SYS_openat2, at.get(), inside.c_str(), &how, sizeof how)));
}

Result<std::string> read_all(int fd, const std::string& path) {
  struct stat found{};
  if (::fstat(fd, &found) != 0) return fail_errno(errno, "look at " + path);
  if (!S_ISREG(found.st_mode)) return fail(ErrorKind::invalid, path + " is no regular file");
  std::string bytes;
  std::string buffer(256 * 1024, '\0');
  for (;;) {
    const auto got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "read " + path);
    if (got == 0) return bytes;
    bytes.append(buffer, 0, static_cast<std::size_t>(got));
    if (static_cast<std::int64_t>(bytes.size()) > max_attachment)
      return fail(ErrorKind::limit, fmt::format("{} has more than {} bytes", path, max_attachment));
  }
}

}  // namespace

AnswerFiles find_answer_files(std::string_view answer) {
  AnswerFiles found;
  bool in_code = false;
  for (std::size_t at = 0; at <= answer.size();) {
    const std::size_t end = std::min(answer.find('\n', at), answer.size());
    const auto line = answer.substr(at, end - at);
    if (line.starts_with("```")) in_code = !in_code;
    const auto path = line.starts_with(prefix) ? trimmed(line.substr(prefix.size())) : std::string_view();
    if (!in_code && path.starts_with('/') && path.find('\0') == path.npos && found.paths.size() < max_answer_files) {
      found.paths.emplace_back(path);
    } else {
      found.text += line;
      if (end < answer.size()) found.text += '\n';
    }
    at = end + 1;
  }
  while (!found.paths.empty() && found.text.ends_with('\n')) found.text.pop_back();
  return found;
}

std::string text_to_show(std::string_view unfinished) {
  const std::size_t last = unfinished.rfind('\n') + 1;  // npos + 1 = 0
  const auto line = unfinished.substr(last);
  if (line.starts_with(prefix) || prefix.starts_with(line)) unfinished = unfinished.substr(0, last);
  return find_answer_files(unfinished).text;
}

Result<Attachment> take_answer_file(const std::string& path, const std::vector<std::string>& roots,
                                    const std::string& directory) {
  int reason = 0;
  for (const std::string& root : roots) {
    const auto inside = std::filesystem::path(path).lexically_relative(root).string();
    if (inside.empty() || inside == "." || inside.starts_with("..")) continue;
    const UniqueFd fd = open_beneath(root, inside);
    if (!fd) {
      reason = errno;
      continue;
    }
    auto bytes = read_all(fd.get(), path);
    if (!bytes) return std::unexpected(bytes.error());
    std::string name = std::filesystem::path(path).filename().string();
    auto kept = keep_attachment_file(directory, name, *bytes);
    if (!kept) return std::unexpected(kept.error());
    return Attachment{.path = std::move(*kept),
                      .name = printable(name),
                      .type = "",
                      .size = static_cast<std::int64_t>(bytes->size())};
  }
  // EXDEV: openat2's word for a path that leads out.
  if (reason != 0 && reason != EXDEV && reason != ELOOP) return fail_errno(reason, "open " + path);
  return fail(ErrorKind::permission, fmt::format("{} is not below a directory of attach_from", printable(path)));
}

}  // namespace talaria
