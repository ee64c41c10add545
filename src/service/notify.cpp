#include "service/notify.h"

#include <fmt/format.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <string_view>

#include "base/fd.h"

namespace talaria {
namespace {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc{} || end != text.end()) return {};
  return value;
}

// A status is one line of the protocol: a newline in it would begin another variable.
std::string one_line(std::string_view text) {
  std::string line(text.substr(0, 512));
  std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  // Don't cut a UTF-8 sequence in half: the manager drops the whole status then.
  if (text.size() > line.size())
    while (!line.empty() && (static_cast<unsigned char>(text[line.size()]) & 0xc0) == 0x80) line.pop_back();
  return line;
}

}  // namespace

// Reads a variable and takes it out of the environment.
std::string Notifier::take(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return {};
  std::string text = value;
  ::unsetenv(name);
  taken_.emplace_back(name, text);
  return text;
}

// WATCHDOG_USEC counts for the process that WATCHDOG_PID names, and for everybody where that is absent
// (sd_watchdog_enabled(3)).
Millis Notifier::take_watchdog() {
  const auto interval = parse_number(take("WATCHDOG_USEC"));
  const auto pid_text = take("WATCHDOG_PID");
  if (!interval || (!pid_text.empty() && parse_number(pid_text) != static_cast<std::uint64_t>(::getpid())))
    return Millis{0};
  constexpr std::uint64_t longest = 365ULL * 24 * 3'600'000'000;
  return std::chrono::duration_cast<Millis>(std::chrono::microseconds(std::min(*interval, longest)));
}

Notifier::Notifier() : socket_(take("NOTIFY_SOCKET")), watchdog_(take_watchdog()) {
  if (!socket_.starts_with('/') && !socket_.starts_with('@')) socket_.clear();
  if (socket_.size() >= sizeof(sockaddr_un::sun_path)) socket_.clear();
}

void Notifier::ready(std::string_view text) const {
  ready_fd_.ready();
  send(fmt::format("READY=1\nSTATUS={}", one_line(text)));
}
void Notifier::status(std::string_view text) const { send(fmt::format("STATUS={}", one_line(text))); }
void Notifier::stopping(std::string_view text) const { send(fmt::format("STOPPING=1\nSTATUS={}", one_line(text))); }
// Type=notify-reload compares MONOTONIC_USEC with the time of its SIGHUP (sd_notify(3)); Type=notify ignores it.
void Notifier::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000LL + now.tv_nsec / 1'000));
}
void Notifier::watchdog() const { send("WATCHDOG=1"); }
void Notifier::extend(Millis by) const {
  send(fmt::format("EXTEND_TIMEOUT_USEC={}", std::chrono::duration_cast<std::chrono::microseconds>(by).count()));
}

void Notifier::store(std::string_view name, int fd) const {
  send(fmt::format("FDSTORE=1\nFDNAME={}\nFDPOLL=0", one_line(name)), fd);
}
void Notifier::remove_stored(std::string_view name) const {
  send(fmt::format("FDSTOREREMOVE=1\nFDNAME={}", one_line(name)));
}

// One datagram. The manager's queue is long (512 and more), so a full one means that the manager itself is stuck; what
// is said only once waits a moment for it, the rest is repeated soon anyway.
void Notifier::send(std::string_view state, int fd_to_pass) const {
  if (!active()) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  if (socket_.starts_with('@'))
    address.sun_path[0] = '\0';  // abstract (unix(7)): the length counts, no terminating zero
  else
    ++length;
  const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) < 0) return;
  iovec text{const_cast<char*>(state.data()), state.size()};  // sendmsg(2) only reads
  msghdr message{};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (fd_to_pass >= 0) {  // SCM_RIGHTS, unix(7)
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd_to_pass, sizeof(int));
  }
  if (::sendmsg(fd.get(), &message, MSG_NOSIGNAL) >= 0 || (errno != EAGAIN && errno != EINTR)) return;
  if (state.starts_with("STATUS=") || state.starts_with("EXTEND") || state.starts_with("WATCHDOG")) return;
  pollfd writable{fd.get(), POLLOUT, 0};
  constexpr int wait_ms = 50;
  if (::poll(&writable, 1, wait_ms) > 0) (void)::sendmsg(fd.get(), &message, MSG_NOSIGNAL);
}

}  // namespace talaria
