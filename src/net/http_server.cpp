#include "net/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "net/http_connection.h"
#include "runtime/task_group.h"

namespace talaria {

namespace {

constexpr std::size_t max_refusing = 64;  // told 503; beyond that connections are just closed
constexpr int accept_run = 32;            // connections taken in one turn of the loop
constexpr Millis accept_pause{100};       // when descriptors or memory have run out

HttpPeer tcp_peer(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return {AF_INET, fmt::format("{}:{}", text.data(), ntohs(v4.sin_port)), -1, -1};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
  return {AF_INET6, fmt::format("[{}]:{}", text.data(), ntohs(v6.sin6_port)), -1, -1};
}

HttpPeer unix_peer(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {AF_UNIX, "unknown user", -1, -1};
  return {AF_UNIX, fmt::format("uid:{}", credentials.uid), static_cast<int>(credentials.uid), credentials.pid};
}

HttpPeer peer_of(int fd, const sockaddr_storage& address) {
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return unix_peer(fd);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return tcp_peer(address);
}

}  // namespace

struct HttpServer::Impl {
  using ListenSocket = asio::posix::stream_descriptor;

  Impl(asio::any_io_executor executor, HttpServerLimits limits, HttpHandler handler,
       std::function<void(std::string_view)> on_bug)
      : core(std::make_shared<HttpServerCore>(executor, limits, std::move(handler), std::move(on_bug))),
        group(executor, [core = core](std::string_view task, std::string_view what) {
          core->report_bug(fmt::format("{}: {}", task, what));
        }) {}

  void admit(UniqueFd fd, const sockaddr_storage& address) {
    const bool full = core->connections.size() >= core->limits.connections;
    if (full && core->refusing >= max_refusing) return;
    HttpPeer peer = peer_of(fd.get(), address);
    auto connection = std::make_unique<HttpConnection>(core, std::move(fd), std::move(peer), full);
    group.spawn("connection", run(std::move(connection), full));
  }

  void close_listeners() {
    for (const auto& listener : listeners) {
      error_code ignored;
      listener->close(ignored);
    }
    listeners.clear();
  }

  static Task<> run(std::unique_ptr<HttpConnection> connection, bool refused) {
    if (refused) {
      co_await connection->refuse();
    } else {
      co_await connection->serve();
    }
  }

  static Task<> accept_from(std::weak_ptr<Impl> weak, std::shared_ptr<ListenSocket> listener) {
    // Accepts by hand: Asio's accept() leaves a moment in which the descriptor is not close-on-exec.
    int taken = 0;
    while (listener->is_open()) {
      sockaddr_storage address{};
      socklen_t size = sizeof address;
      UniqueFd fd(::accept4(listener->native_handle(), reinterpret_cast<sockaddr*>(&address), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
      const int err = errno;
      const bool accepted = static_cast<bool>(fd);
      if (accepted) {
        const auto self = weak.lock();
        if (!self) co_return;
        self->admit(std::move(fd), address);
        ++taken;
      }
      if (taken == accept_run || (!accepted && err == EAGAIN)) {
        taken = 0;
        auto [ec] = co_await listener->async_wait(ListenSocket::wait_read, use_task);
        if (ec) co_return;
      } else if (!accepted && err != ECONNABORTED && err != EINTR) {
        // Descriptors or memory ran out (or worse): whoever waits stays in the backlog.
        co_await sleep_for(accept_pause);
      }
    }
  }

  std::shared_ptr<HttpServerCore> core;
  std::vector<std::shared_ptr<ListenSocket>> listeners;
  TaskGroup group;
};

HttpServer::HttpServer(asio::any_io_executor executor, HttpServerLimits limits, HttpHandler handler,
                       std::function<void(std::string_view)> on_bug)
    : impl_(std::make_shared<Impl>(std::move(executor), limits, std::move(handler), std::move(on_bug))) {}

HttpServer::~HttpServer() {
  stop_accepting();
  impl_->group.cancel();
}

Result<> HttpServer::serve(UniqueFd listener) {
  auto socket = std::make_shared<Impl::ListenSocket>(impl_->core->executor);
  error_code ec;
  socket->assign(listener.get(), ec);
  if (ec) return fail_errno(ec.value(), "watch a listening socket");
  (void)listener.release();
  impl_->listeners.push_back(socket);
  impl_->group.spawn("accept", Impl::accept_from(impl_, std::move(socket)));
  return {};
}

Result<> HttpServer::move_to(UniqueFd listener) {
  auto before = std::exchange(impl_->listeners, {});
  if (listener) {
    if (auto ok = serve(std::move(listener)); !ok) {
      impl_->listeners = std::move(before);
      return ok;
    }
  }
  ++impl_->core->address;
  std::swap(before, impl_->listeners);
  impl_->close_listeners();
  impl_->listeners = std::move(before);
  for (auto* connection : impl_->core->connections) connection->close_if_idle();
  return {};
}

void HttpServer::set_limits(HttpServerLimits limits) { impl_->core->limits = limits; }

int HttpServer::listener() const { return impl_->listeners.empty() ? -1 : impl_->listeners.front()->native_handle(); }

void HttpServer::stop_accepting() {
  impl_->core->stopping = true;
  impl_->close_listeners();
  for (auto* connection : impl_->core->connections) connection->close_if_idle();
}

void HttpServer::begin_hand_over() {
  impl_->core->handing_over = true;
  impl_->close_listeners();
  for (auto* connection : impl_->core->connections) connection->close_if_idle();
}

Task<> HttpServer::handed_over() {
  const auto impl = impl_;
  co_await impl->group.join();
}

std::vector<UniqueFd> HttpServer::take_handed_over() { return std::move(impl_->core->put_aside); }

void HttpServer::adopt(UniqueFd connection) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(connection.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  impl_->admit(std::move(connection), address);
}

Task<bool> HttpServer::stop(Deadline deadline) {
  stop_accepting();
  const auto impl = impl_;
  co_return co_await impl->group.stop(deadline);
}

std::size_t HttpServer::connections() const { return impl_->core->connections.size(); }
std::size_t HttpServer::exchanges() const { return impl_->core->exchanges; }
std::size_t HttpServer::newcomers() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(impl_->core->connections, [](const auto* each) { return each->newcomer(); }));
}

}  // namespace talaria
