#include "config/loading.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/text.h"
#include "config/loader.h"
#include "config/toml_tree.h"

namespace talaria {
namespace {

constexpr std::size_t max_file = 1024 * 1024;

LoadOutcome only(Diagnostic diagnostic) {
  LoadOutcome outcome;
  outcome.diagnostics.push_back(std::move(diagnostic));
  return outcome;
}

LoadOutcome of_the_file(const std::string& path, std::string message) {
  return only({path, 0, 0, "", std::move(message)});
}

std::string too_large() {
  return "is larger than 1 MiB: this can't be meant; a long prompt belongs into the agent's own server";
}

Result<std::string> read_file(int fd) {
  std::string content(max_file + 1, '\0');
  std::size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = ::read(fd, content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "reading failed");
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  content.resize(filled);
  return content;
}

std::string cannot_open(int error, const std::string& path) {
  if (error == ENOENT) {
    return fmt::format(
        "there is no configuration; create {} with two lines to begin with: [agent.default] and kind = \"echo\" "
        "(`talaria config explain` "
        "lists every key)",
        path);
  }
  return fail_errno(error, "it can't be opened").error().what;
}

}  // namespace

std::string to_string(const Diagnostic& diagnostic) {
  std::string out = diagnostic.file;
  if (diagnostic.line > 0) out += fmt::format(":{}:{}", diagnostic.line, diagnostic.column);
  if (!diagnostic.key.empty()) out += ": " + diagnostic.key;
  return out + ": " + diagnostic.message;
}

LoadOutcome load_config_text(std::string_view text, std::string file_name) {
  if (text.size() > max_file) return of_the_file(file_name, too_large());
  const auto root = parse_toml(text);
  if (!root) {
    const TomlError& error = root.error();
    return only({std::move(file_name), error.line, error.column, "", "this is not TOML: " + printable(error.message)});
  }
  return Loader(std::move(file_name)).run(*root);
}

LoadOutcome load_config_file(const std::string& path) {
  // O_NONBLOCK: a FIFO in the file's place must not hold up the start.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return of_the_file(path, cannot_open(errno, path));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return of_the_file(path, fail_errno(errno, "it can't be examined").error().what);
  if (!S_ISREG(status.st_mode)) return of_the_file(path, "is not a regular file");
  const Result<std::string> content = read_file(fd.get());
  if (!content) return of_the_file(path, content.error().what);
  return load_config_text(*content, path);
}

}  // namespace talaria
