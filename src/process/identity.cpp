#include "process/identity.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <limits>

#include "process/pidfd.h"
#include "process/small_file.h"

namespace talaria {

namespace {

constexpr std::size_t uuid_length = 36;

// Lower-case RFC 9562 text form, as the kernel prints it: a truncated one must not pass.
bool is_boot_id(std::string_view text) {
  if (text.size() != uuid_length) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (dash ? c != '-' : !hex) return false;
  }
  return true;
}

Result<std::string> read_boot_id() {
  auto text = read_small_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return text;
  while (text->ends_with('\n')) text->pop_back();
  if (!is_boot_id(*text)) return fail(ErrorKind::internal, "/proc/sys/kernel/random/boot_id holds no boot id");
  return text;
}

// A whole number without sign or leading zeros.
template <class T>
bool parse_number(std::string_view text, T& value) {
  if (text.empty() || (text.size() > 1 && text[0] == '0') || text[0] < '0' || text[0] > '9') return false;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return ec == std::errc{} && end == text.data() + text.size();
}

std::unexpected<Error> no_process(pid_t pid) {
  return fail(ErrorKind::not_found, fmt::format("there is no process {}", pid));
}

Result<UniqueFd> open_pidfd(pid_t pid) {
  if (pid <= 0) return no_process(pid);
  UniqueFd fd(::pidfd_open(pid, 0));
  if (fd) return fd;
  // EINVAL, ENOENT: the number is a thread's, not a process's.
  if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return no_process(pid);
  return fail_errno(errno, fmt::format("pidfd_open of process {}", pid));
}

bool is_readable(int fd, int milliseconds) {
  pollfd entry{fd, POLLIN, 0};
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  for (;;) {
    const int n = ::poll(&entry, 1, milliseconds);
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
    if (milliseconds < 0) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    milliseconds = static_cast<int>(std::max<decltype(left)>(left, 0));
  }
}

// Who stands behind a pidfd that is already open: /proc is read second, so whatever it says is about this process or,
// when the PID has gone to another one meanwhile, about one that the pidfd shows as ended.
Result<Incarnation> incarnation_behind(int pidfd, pid_t pid) {
  const auto text = read_small_file(fmt::format("/proc/{}/stat", pid), max_proc_stat);
  if (!text)
    return text.error().kind == ErrorKind::not_found ? Result<Incarnation>(no_process(pid))
                                                     : std::unexpected(text.error());
  const auto facts = parse_proc_stat(*text);
  if (!facts) return std::unexpected(facts.error());
  if (facts->pid != pid) return fail(ErrorKind::internal, "/proc belongs to another PID namespace; mount this one's");
  auto boot_id = read_boot_id();
  if (!boot_id) return std::unexpected(boot_id.error());
  if (is_readable(pidfd, 0)) return no_process(pid);
  return Incarnation{pid, facts->start_time, std::move(*boot_id)};
}

}  // namespace

std::string to_string(const Incarnation& incarnation) {
  return fmt::format("{}:{}:{}", incarnation.pid, incarnation.start_time, incarnation.boot_id);
}

Result<Incarnation> parse_incarnation(std::string_view text) {
  const auto bad = [](std::string_view why) {
    return fail(ErrorKind::invalid, fmt::format("no incarnation (PID:START:BOOTID): {}", why));
  };
  const auto first = text.find(':');
  const auto second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos) return bad("it has fewer than three parts");
  Incarnation incarnation;
  if (!parse_number(text.substr(0, first), incarnation.pid) || incarnation.pid < 1)
    return bad("the PID is no whole number from 1");
  if (!parse_number(text.substr(first + 1, second - first - 1), incarnation.start_time) ||
      incarnation.start_time > std::numeric_limits<std::int64_t>::max())
    return bad("the start time is no number of clock ticks");
  const std::string_view boot_id = text.substr(second + 1);
  if (!is_boot_id(boot_id)) return bad("the boot id is no UUID");
  incarnation.boot_id = boot_id;
  return incarnation;
}

Result<Incarnation> this_incarnation() { return incarnation_of(::getpid()); }

Result<Incarnation> incarnation_of(pid_t pid) {
  const auto pidfd = open_pidfd(pid);
  if (!pidfd) return std::unexpected(pidfd.error());
  return incarnation_behind(pidfd->get(), pid);
}

Result<ProcessHandle> ProcessHandle::open(const Incarnation& incarnation) {
  auto pidfd = open_pidfd(incarnation.pid);
  if (!pidfd) return std::unexpected(pidfd.error());
  const auto found = incarnation_behind(pidfd->get(), incarnation.pid);
  if (!found) return std::unexpected(found.error());
  if (*found != incarnation)
    return fail(ErrorKind::not_found,
                fmt::format("process {} has ended; its PID belongs to another process now", incarnation.pid));
  ProcessHandle handle;
  handle.fd_ = std::move(*pidfd);
  return handle;
}

Result<> ProcessHandle::signal(int signal_number) const {
  if (::pidfd_send_signal(fd_.get(), signal_number, nullptr, 0) == 0) return {};
  if (errno == ESRCH) return fail(ErrorKind::not_found, "the process has ended");
  return fail_errno(errno, fmt::format("send signal {}", signal_number));
}

bool ProcessHandle::ended() const { return is_readable(fd_.get(), 0); }

bool ProcessHandle::wait_ended(int milliseconds) const { return is_readable(fd_.get(), milliseconds); }

}  // namespace talaria
