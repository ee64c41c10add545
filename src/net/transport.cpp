#include "net/transport.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "net/resolve.h"

namespace talaria {

using Socket = asio::generic::stream_protocol::socket;

namespace {

void cancel(Socket& socket) {
  error_code ignored;
  socket.cancel(ignored);
}

// Without "what was tried": whoever asked for the connection says that.
std::unexpected<Error> refused(int err) {
  auto failure = fail_errno(err, "");
  failure.error().what.erase(0, 2);
  return failure;
}

}  // namespace

Transport::Transport(asio::any_io_executor executor, Watchdog& dog)
    : socket_(std::move(executor)),
      read_watch_(dog, [this] { cancel(socket_); }),
      write_watch_(dog, [this] { cancel(socket_); }) {}

Transport::~Transport() { close(); }

Task<Transport::Wake> Transport::wait(asio::socket_base::wait_type what, Watchdog::Watch& watch, Deadline deadline) {
  if (!socket_.is_open()) co_return Wake::closed;
  watch.arm(deadline.at());
  co_await socket_.async_wait(what, use_task);  // an error shows when the caller tries again
  watch.disarm();
  if (watch.expired()) co_return Wake::timeout;
  // Interrupted for the sake of the other direction counts as ready: whoever waits tries again anyway.
  co_return socket_.is_open() ? Wake::ready : Wake::closed;
}

std::unexpected<Error> Transport::interrupted(Wake wake, std::string_view doing) {
  return wake == Wake::timeout
             ? fail(ErrorKind::timeout, fmt::format("{} timed out", doing))
             : fail(ErrorKind::cancelled, fmt::format("{}: the connection was closed on this side", doing));
}

// --- Connecting
// -------------------------------------------------------------------------------------------------------------------

Task<Result<>> Transport::connect(int family, const void* address, unsigned size, Deadline deadline) {
  error_code ec;
  socket_.close(ec);
  // Made by hand: Asio's open() leaves a moment in which the descriptor is not close-on-exec.
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) co_return fail_errno(errno, "create a socket");
  const int on = 1;
  if (family != AF_UNIX) {
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  const int result = ::connect(fd.get(), static_cast<const sockaddr*>(address), size);
  const int err = errno;
  socket_.assign(asio::generic::stream_protocol(family, 0), fd.get(), ec);
  if (ec) co_return fail_errno(ec.value(), "watch a socket");
  (void)fd.release();
  socket_.non_blocking(true, ec);
  if (result == 0) co_return Result<>{};
  if (err != EINPROGRESS) co_return refused(err);
  while (true) {
    const Wake wake = co_await wait(asio::socket_base::wait_write, write_watch_, deadline);
    if (wake != Wake::ready) co_return interrupted(wake, "the attempt");
    // Asked of the socket itself: the wait may have been interrupted.
    int failure = 0;
    socklen_t length = sizeof failure;
    getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &failure, &length);
    if (failure != 0) co_return refused(failure);
    sockaddr_storage peer{};
    length = sizeof peer;
    if (getpeername(socket_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &length) == 0) co_return Result<>{};
  }
}

Task<Result<>> Transport::connect_tcp(std::string host, std::uint16_t port, Deadline deadline) {
  const auto endpoints = co_await resolve(host, port, deadline);
  if (!endpoints) co_return std::unexpected(endpoints.error());
  Result<> last;
  auto left = static_cast<int>(endpoints->size());
  for (const auto& endpoint : *endpoints) {
    // An address that swallows packets must not use up the time of those behind it.
    const Deadline share = deadline.is_never() ? Deadline::in(Millis(30'000)) : Deadline::in(deadline.left() / left--);
    last =
        co_await connect(endpoint.protocol().family(), endpoint.data(), static_cast<unsigned>(endpoint.size()), share);
    if (last || deadline.expired()) break;
  }
  co_return last;
}

Task<Result<>> Transport::connect_unix(std::string path, Deadline deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    co_return fail(ErrorKind::invalid, fmt::format("\"{}\" is no path of a UNIX socket (at most {} bytes)", path,
                                                   sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  co_return co_await connect(AF_UNIX, &address, sizeof address, deadline);
}

// --- TLS
// --------------------------------------------------------------------------------------------------------------------------

std::unexpected<Error> Transport::tls_error(TlsSession::Step step, std::string_view doing) const {
  if (step == TlsSession::Step::failed)
    return fail(tls_->error().kind, fmt::format("{}: {}", doing, tls_->error().what));
  return fail(ErrorKind::unavailable, fmt::format("{}: the peer closed the connection", doing));
}

Task<Result<>> Transport::start_tls(std::shared_ptr<TlsContext> context, std::string host, std::string_view alpn,
                                    Deadline deadline) {
  auto session = TlsSession::make(std::move(context), socket_.native_handle(), host, alpn);
  if (!session) co_return std::unexpected(session.error());
  tls_ = std::move(*session);
  while (true) {
    const auto step = tls_->handshake();
    Wake wake = Wake::ready;
    switch (step) {
      case TlsSession::Step::done: co_return Result<>{};
      case TlsSession::Step::want_read:
        wake = co_await wait(asio::socket_base::wait_read, read_watch_, deadline);
        break;
      case TlsSession::Step::want_write:
        wake = co_await wait(asio::socket_base::wait_write, write_watch_, deadline);
        break;
      default: co_return tls_error(step, fmt::format("TLS handshake with {}", host));
    }
    if (wake != Wake::ready) co_return interrupted(wake, "TLS handshake");
  }
}

Task<Result<std::size_t>> Transport::read_tls(std::span<char> into, Deadline deadline) {
  while (socket_.is_open()) {
    std::size_t count = 0;
    const auto step = tls_->read(into, count);
    Wake wake = Wake::ready;
    switch (step) {
      case TlsSession::Step::done: co_return count;
      case TlsSession::Step::closed: co_return std::size_t{0};
      case TlsSession::Step::want_read:
        wake = co_await wait(asio::socket_base::wait_read, read_watch_, deadline);
        break;
      case TlsSession::Step::want_write:
        wake = co_await wait(asio::socket_base::wait_write, read_watch_, deadline);
        break;
      default: co_return tls_error(step, "read");
    }
    if (wake != Wake::ready) co_return interrupted(wake, "read");
  }
  co_return interrupted(Wake::closed, "read");
}

Task<Result<>> Transport::write_tls(std::string_view data, Deadline deadline) {
  while (!data.empty() && socket_.is_open()) {
    std::size_t count = 0;
    const auto step = tls_->write(data, count);
    Wake wake = Wake::ready;
    switch (step) {
      case TlsSession::Step::done: data.remove_prefix(count); break;
      case TlsSession::Step::want_read:
        wake = co_await wait(asio::socket_base::wait_read, write_watch_, deadline);
        break;
      case TlsSession::Step::want_write:
        wake = co_await wait(asio::socket_base::wait_write, write_watch_, deadline);
        break;
      default: co_return tls_error(step, "write");
    }
    if (wake != Wake::ready) co_return interrupted(wake, "write");
  }
  if (!data.empty()) co_return interrupted(Wake::closed, "write");
  co_return Result<>{};
}

// --- Reading and writing
// ----------------------------------------------------------------------------------------------------------

Task<Result<std::size_t>> Transport::read_some(std::span<char> into, Deadline deadline) {
  if (tls_) co_return co_await read_tls(into, deadline);
  while (socket_.is_open()) {
    // Asio reads first and waits only when nothing is there, which saves a system call over a wait of our own.
    read_watch_.arm(deadline.at());
    auto [ec, count] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), use_task);
    read_watch_.disarm();
    if (!ec) co_return count;
    if (ec == asio::error::eof) co_return std::size_t{0};
    if (ec != asio::error::operation_aborted) co_return fail_errno(ec.value(), "read");
    if (read_watch_.expired()) co_return interrupted(Wake::timeout, "read");
  }
  co_return interrupted(Wake::closed, "read");
}

Task<Result<>> Transport::write_plain(std::string_view data, Deadline deadline) {
  while (socket_.is_open()) {
    const auto sent = ::send(socket_.native_handle(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      data.remove_prefix(static_cast<std::size_t>(sent));
      if (data.empty()) co_return Result<>{};
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return fail_errno(errno, "write");
    const Wake wake = co_await wait(asio::socket_base::wait_write, write_watch_, deadline);
    if (wake != Wake::ready) co_return interrupted(wake, "write");
  }
  co_return interrupted(Wake::closed, "write");
}

Task<Result<>> Transport::write_all(std::string_view data, Deadline deadline) {
  if (data.empty()) co_return Result<>{};
  if (tls_) co_return co_await write_tls(data, deadline);
  co_return co_await write_plain(data, deadline);
}

bool Transport::is_quiet() {
  if (!socket_.is_open() || (tls_ && tls_->has_pending())) return false;
  char byte;
  return ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void Transport::close() {
  if (tls_ && socket_.is_open()) tls_->say_goodbye();
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace talaria
