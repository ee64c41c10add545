// References to secrets, and the one place where they are followed.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/fd.h"
#include "config/config.h"

namespace talaria {
namespace {

constexpr std::size_t max_secret = 64 * 1024;

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool is_credential_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         std::ranges::all_of(name, [](char c) { return c > 0x20 && c < 0x7F && c != '/' && c != ':'; });
}

// What was read, or why it can't be a secret. A line break inside would end a header line of HTTP or a line of IRC
// early.
Result<std::string> usable(std::string secret, std::string_view reference) {
  if (secret.ends_with('\n')) secret.pop_back();
  if (secret.empty()) return fail(ErrorKind::invalid, fmt::format("the secret {} is empty", reference));
  if (secret.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
    return fail(ErrorKind::invalid,
                fmt::format("the secret {} holds a line break or a NUL byte: it must be one line", reference));
  }
  return secret;
}

Result<std::string> read_limited(int fd, std::string_view reference) {
  std::string content(max_secret + 2, '\0');  // one byte for the newline, one to notice that there is more
  std::size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = ::read(fd, content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, fmt::format("read the secret {}", reference));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  content.resize(filled);
  if (filled > max_secret + (content.ends_with('\n') ? 1 : 0)) {
    return fail(ErrorKind::limit, fmt::format("the secret {} is longer than 64 KiB", reference));
  }
  return content;
}

// The manager guards credentials by their directory and by ACLs, which show up as group bits: only plain files are held
// to mode 0600.
Result<std::string> read_secret_file(const std::string& path, std::string_view reference, bool check_mode) {
  // O_NONBLOCK: a FIFO must not hold us up; it is refused below.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return fail_errno(errno, fmt::format("open the secret {}", reference));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, fmt::format("examine the secret {}", reference));
  if (!S_ISREG(status.st_mode))
    return fail(ErrorKind::invalid, fmt::format("the secret {} is not a regular file", reference));
  if (check_mode && (status.st_mode & 077) != 0) {
    return fail(ErrorKind::permission, fmt::format("the secret {} may be read by others (mode {:04o}): chmod 600 {}",
                                                   reference, static_cast<unsigned>(status.st_mode) & 07777U, path));
  }
  return read_limited(fd.get(), reference);
}

Result<std::string> read_credential(const std::string& name, std::string_view reference) {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");  // systemd.exec(5)
  if (directory == nullptr || *directory != '/') {
    return fail(ErrorKind::not_found,
                fmt::format("the secret {} needs a unit with LoadCredential={} or SetCredential=; no "
                            "credentials were passed to this process",
                            reference, name));
  }
  return read_secret_file(fmt::format("{}/{}", directory, name), reference, false);
}

Result<std::string> read_variable(const std::string& name, std::string_view reference) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr)
    return fail(ErrorKind::not_found, fmt::format("the secret {}: the variable {} is not set", reference, name));
  if (std::string_view(value).size() > max_secret) {
    return fail(ErrorKind::limit, fmt::format("the secret {} is longer than 64 KiB", reference));
  }
  return std::string(value);
}

}  // namespace

// The text may be the secret itself, pasted by mistake: no message repeats any part of it.
Result<SecretRef> parse_secret_ref(std::string_view text) {
  if (text.starts_with("env:") && is_variable_name(text.substr(4))) {
    return SecretRef{SecretRef::Source::environment, std::string(text.substr(4))};
  }
  if (text.starts_with("file:/") && text.find_first_of(std::string_view("\n\0", 2)) == std::string_view::npos &&
      text.size() < 4096) {
    return SecretRef{SecretRef::Source::file, std::string(text.substr(5))};
  }
  if (text.starts_with("cred:") && is_credential_name(text.substr(5))) {
    return SecretRef{SecretRef::Source::credential, std::string(text.substr(5))};
  }
  return fail(ErrorKind::invalid,
              "a secret is given by reference, never literally: write \"env:NAME\" (a variable), \"file:/PATH\" (an "
              "absolute path to a "
              "file with mode 0600) or \"cred:NAME\" (a systemd credential)");
}

std::string to_string(const SecretRef& ref) {
  switch (ref.source) {
    case SecretRef::Source::environment: return "env:" + ref.name;
    case SecretRef::Source::file: return "file:" + ref.name;
    case SecretRef::Source::credential: return "cred:" + ref.name;
  }
  return "";
}

Result<std::string> resolve_secret(const SecretRef& ref) {
  const std::string reference = to_string(ref);
  Result<std::string> content;
  switch (ref.source) {
    case SecretRef::Source::environment: content = read_variable(ref.name, reference); break;
    case SecretRef::Source::file: content = read_secret_file(ref.name, reference, true); break;
    case SecretRef::Source::credential: content = read_credential(ref.name, reference); break;
  }
  if (!content) return content;
  return usable(std::move(*content), reference);
}

}  // namespace talaria
