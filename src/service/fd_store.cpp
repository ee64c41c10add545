#include "service/fd_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <optional>

#include "base/environment.h"

namespace talaria {
namespace {

constexpr int first_fd = 3;  // SD_LISTEN_FDS_START
constexpr int most_fds = 1'000;

// Digits only: from_chars alone would take a sign.
std::optional<int> parse_count(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc{} || end != text.end() || value < 0 || text.starts_with('-')) return {};
  return value;
}

std::string take_variable(const char* name) {
  auto text = environment_variable(name);
  ::unsetenv(name);
  return text;
}

}  // namespace

Result<std::vector<std::string>> parse_listen_variables(const ListenVariables& variables, pid_t self) {
  if (variables.pid.empty() || variables.count.empty()) return std::vector<std::string>{};
  const auto pid = parse_count(variables.pid);
  if (!pid) return fail(ErrorKind::invalid, "LISTEN_PID is not a PID");
  if (*pid != self) return std::vector<std::string>{};
  const auto count = parse_count(variables.count);
  if (!count || *count > most_fds) return fail(ErrorKind::invalid, "LISTEN_FDS is not a number up to 1000");
  std::vector<std::string> names;
  auto rest = variables.names;
  while (!rest.empty()) {
    const auto end = rest.find(':');
    names.emplace_back(rest.substr(0, end));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
    if (rest.empty()) names.emplace_back();
  }
  // A list of another length says nothing about any of them.
  if (names.size() != static_cast<std::size_t>(*count)) names.assign(static_cast<std::size_t>(*count), "unknown");
  return names;
}

std::vector<InheritedFd> take_inherited_fds() {
  const std::string pid = take_variable("LISTEN_PID");
  const std::string count = take_variable("LISTEN_FDS");
  const std::string names = take_variable("LISTEN_FDNAMES");
  const auto parsed = parse_listen_variables({pid, count, names}, ::getpid());
  std::vector<InheritedFd> taken;
  if (!parsed) return taken;
  for (std::size_t i = 0; i < parsed->size(); ++i) {
    const int fd = first_fd + static_cast<int>(i);
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0) break;  // promised, but not there
    ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    taken.push_back({(*parsed)[i], UniqueFd(fd)});
  }
  return taken;
}

}  // namespace talaria
