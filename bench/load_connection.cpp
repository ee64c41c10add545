#include "load_connection.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace talaria::bench {

std::int64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

bool LoadConnection::start() {
  if (!fd_) {
    fd_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&target_.address), sizeof target_.address) != 0) {
      fail(fmt::format("connect: {}", std::strerror(errno)));
      return false;
    }
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  reader_.reset();
  first_text_ = 0;
  busy_ = true;
  started_ = monotonic_ns();
  // A blocking send: a request is far smaller than the socket's buffer, and the server has read the one before.
  const ssize_t sent = ::send(fd_.get(), target_.request.data(), target_.request.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(target_.request.size())) {
    fail(fmt::format("send: {}", std::strerror(errno)));
    return false;
  }
  return true;
}

bool LoadConnection::on_readable() {
  char buffer[64 * 1024];
  const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    if (busy_) {
      fail(n == 0 ? "connection closed before the answer's end" : fmt::format("recv: {}", std::strerror(errno)));
    } else {
      fd_.reset();  // an idle connection may be closed by the server at any time
    }
    return true;
  }
  if (!busy_) {
    fail("bytes beyond the answer");
    return true;
  }
  const auto state = reader_.feed({buffer, static_cast<std::size_t>(n)});
  const std::int64_t now = monotonic_ns();
  if (first_text_ == 0 && reader_.has_text()) first_text_ = now;
  if (state == ResponseReader::State::more) return false;
  if (state == ResponseReader::State::broken) {
    fail("not an HTTP response");
  } else {
    finish(now);
  }
  return true;
}

void LoadConnection::finish(std::int64_t now) {
  if (reader_.status() != 200)
    return fail(fmt::format("status {}: {}", reader_.status(), reader_.body().substr(0, 200)));
  if (target_.expect.empty() ? reader_.text().empty() : reader_.text() != target_.expect) {
    return fail(fmt::format("wrong answer: {}", reader_.body().substr(0, 200)));
  }
  if (target_.stream && !reader_.stream_ended()) return fail("the stream ended without [DONE]");
  busy_ = false;
  if (!reader_.keep_alive()) fd_.reset();
  ++target_.measured.completed;
  if (!target_.recording) return;
  target_.measured.whole.push_back(now - started_);
  if (target_.stream) target_.measured.first.push_back(first_text_ - started_);
}

void LoadConnection::abandon(std::string_view why) { fail(std::string(why)); }

void LoadConnection::fail(std::string kind) {
  fd_.reset();
  busy_ = false;
  ++target_.measured.errors;
  auto& kinds = target_.measured.error_kinds;
  if (kinds.contains(kind) || kinds.size() < kMaxErrorKinds) ++kinds[std::move(kind)];
}

}  // namespace talaria::bench
