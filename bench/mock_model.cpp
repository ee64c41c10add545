// bench_mock_model: an instant OpenAI-compatible model on the loopback interface, for the bench (it must cost next to
// nothing, for it shares two cores with the gateway) and for tests (it can misbehave in every way a provider does; see
// mock_script.h). One thread, level-triggered epoll(7), answers made beforehand.
//
//   bench_mock_model [--port N] [--fault NAME[:NUMBER]] [--tls-cert FILE --tls-key FILE] [--die-with-parent]
//
// Prints "listening on 127.0.0.1:PORT" once it accepts connections.

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <unordered_map>

#include "mock_connection.h"

namespace talaria::bench {
namespace {

struct Options {
  int port = 0;
  std::string fault;
  std::string tls_cert;
  std::string tls_key;
};

struct ContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, ContextFree>;

[[noreturn]] void die(std::string_view what) {
  fmt::print(stderr, "bench_mock_model: {}\n", what);
  std::exit(64);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--die-with-parent") {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      continue;
    }
    if (i + 1 >= argc) die(fmt::format("{} needs a value", name));
    const std::string_view value = argv[++i];
    if (name == "--port") {
      const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), options.port);
      if (failure != std::errc() || *end != '\0' || options.port < 0 || options.port > 65535) die("--port: 0 to 65535");
    } else if (name == "--fault") {
      options.fault = value;
    } else if (name == "--tls-cert") {
      options.tls_cert = value;
    } else if (name == "--tls-key") {
      options.tls_key = value;
    } else {
      die(fmt::format("unknown option {}", name));
    }
  }
  if (options.tls_cert.empty() != options.tls_key.empty()) die("--tls-cert and --tls-key belong together");
  return options;
}

ContextPtr tls_context(const Options& options) {
  if (options.tls_cert.empty()) return nullptr;
  ContextPtr context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(context.get(), options.tls_cert.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(context.get(), options.tls_key.c_str(), SSL_FILETYPE_PEM) != 1) {
    die(fmt::format("{}, {}: {}", options.tls_cert, options.tls_key, ERR_reason_error_string(ERR_get_error())));
  }
  return context;
}

UniqueFd listen_on(int& port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd.get(), generic, size) != 0 || ::listen(fd.get(), 1024) != 0 ||
      ::getsockname(fd.get(), generic, &size) != 0) {
    die(fmt::format("listen on 127.0.0.1:{}: {}", port, std::strerror(errno)));
  }
  port = ntohs(address.sin_port);
  return fd;
}

class Server {
 public:
  Server(const Options& options, UniqueFd listener)
      : book_(options.fault),
        tls_(tls_context(options)),
        listener_(std::move(listener)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = listener_.get()}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
  }

  void run() {
    epoll_event events[128];
    for (;;) {
      const int n = ::epoll_wait(epoll_.get(), events, 128, timeout());
      for (int i = 0; i < n; ++i) {
        if (events[i].data.fd == listener_.get()) {
          accept_all();
        } else if (auto it = connections_.find(events[i].data.fd); it != connections_.end()) {
          settle(*it->second, it->second->on_ready());
        }
      }
      fire_timers();
    }
  }

 private:
  void accept_all() {
    for (;;) {
      UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      const int on = 1;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      SslPtr ssl;
      if (tls_) {
        ssl.reset(SSL_new(tls_.get()));
        SSL_set_fd(ssl.get(), fd.get());
      }
      const int number = fd.get();
      epoll_event event{.events = EPOLLIN, .data = {.fd = number}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, number, &event);
      connections_[number] = std::make_unique<MockConnection>(std::move(fd), std::move(ssl), book_, stats_);
    }
  }

  // After every step of a connection: forget it, or bring epoll and the timers in line with what it waits for.
  void settle(MockConnection& connection, bool alive) {
    const int fd = connection.fd();
    if (!alive) {
      timers_.erase(fd);
      writers_.erase(fd);
      connections_.erase(fd);
      return;
    }
    if (connection.due()) {
      timers_[fd] = *connection.due();
    } else if (!timers_.empty()) {
      timers_.erase(fd);
    }
    if (connection.wants_write() != writers_.contains(fd)) {
      connection.wants_write() ? void(writers_[fd] = true) : void(writers_.erase(fd));
      epoll_event event{.events = EPOLLIN | (connection.wants_write() ? EPOLLOUT : 0U), .data = {.fd = fd}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
    }
  }

  int timeout() const {
    if (timers_.empty()) return -1;
    auto first = MockConnection::Clock::time_point::max();
    for (const auto& [fd, due] : timers_) first = std::min(first, due);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - MockConnection::Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 0));
  }

  void fire_timers() {
    if (timers_.empty()) return;
    const auto now = MockConnection::Clock::now();
    std::vector<int> fired;
    for (const auto& [fd, due] : timers_) {
      if (due <= now) fired.push_back(fd);
    }
    for (const int fd : fired) {
      MockConnection& connection = *connections_.at(fd);
      settle(connection, connection.on_timer());
    }
  }

  ScriptBook book_;
  MockStats stats_;
  ContextPtr tls_;
  UniqueFd listener_;
  UniqueFd epoll_;
  std::unordered_map<int, bool> writers_;                              // wait for room to write
  std::unordered_map<int, MockConnection::Clock::time_point> timers_;  // delays running
  std::unordered_map<int, std::unique_ptr<MockConnection>> connections_;
};

}  // namespace
}  // namespace talaria::bench

int main(int argc, char** argv) {
  using namespace talaria::bench;
  std::signal(SIGPIPE, SIG_IGN);  // SSL_write has no MSG_NOSIGNAL
  Options options = parse(argc, argv);
  talaria::UniqueFd listener = listen_on(options.port);
  Server server(options, std::move(listener));
  fmt::print("listening on 127.0.0.1:{}\n", options.port);
  std::fflush(stdout);
  server.run();
}
