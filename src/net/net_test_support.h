#pragma once
// For the tests of net/: an event loop on a thread of its own, and a blunt blocking peer that can misbehave.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <string>
#include <thread>

#include "base/fd.h"
#include "net/listen.h"
#include "runtime/task.h"

namespace talaria::test {

class Loop {
 public:
  Loop() : work_(asio::make_work_guard(context_)), thread_([this] { context_.run(); }) {}
  ~Loop() {
    work_.reset();
    context_.stop();
    thread_.join();
  }
  [[nodiscard]] asio::any_io_executor executor() { return context_.get_executor(); }

  // Runs a task on the loop.
  template <class T>
  std::future<T> start(Task<T> task) {
    return asio::co_spawn(context_, std::move(task), asio::use_future);
  }
  template <class T>
  T await(Task<T> task) {
    return start(std::move(task)).get();
  }
  // Runs a plain function on the loop.
  template <class F>
  auto on_loop(F f) {
    return asio::post(context_, std::packaged_task<decltype(f())()>(std::move(f))).get();
  }

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

// A blocking TCP socket on loopback; waits at most 10 s for anything.
class Peer {
 public:
  explicit Peer(UniqueFd fd) : fd_(std::move(fd)) { bound(); }
  static Peer connect(std::uint16_t port, int receive_buffer = 0) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer > 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      ADD_FAILURE() << "connect: " << errno;
    return Peer(std::move(fd));
  }

  // False: the other side has closed.
  bool send(std::string_view text) {
    while (!text.empty()) {
      const auto n = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  // Reads until `end` has come, the peer closes, or 10 s are over.
  std::string read_until(std::string_view end) {
    while (pending_.find(end) == std::string::npos && more()) {
    }
    const auto at = pending_.find(end);
    const auto size = at == std::string::npos ? pending_.size() : at + end.size();
    std::string out = pending_.substr(0, size);
    pending_.erase(0, size);
    return out;
  }
  std::string read_to_end() {
    while (more()) {
    }
    return std::exchange(pending_, {});
  }
  // One response with Content-Length.
  std::string read_response() {
    std::string head = read_until("\r\n\r\n");
    const auto at = head.find("Content-Length: ");
    if (at == std::string::npos) return head;
    const auto length = std::stoul(head.substr(at + 16));
    while (pending_.size() < length && more()) {
    }
    head += pending_.substr(0, length);
    pending_.erase(0, length);
    return head;
  }
  [[nodiscard]] bool ended() const { return ended_; }  // closed or reset by the peer (not merely silent)
  [[nodiscard]] bool was_reset() const { return reset_; }
  void end_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  void reset_connection() {
    const linger now{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.reset();
  }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  void bound() {
    const timeval limit{10, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  bool more() {
    char chunk[16384];
    const auto n = ::recv(fd_.get(), chunk, sizeof chunk, 0);
    if (n > 0) pending_.append(chunk, static_cast<std::size_t>(n));
    if (n == 0 || (n < 0 && errno != EAGAIN)) ended_ = true;
    if (n < 0 && errno == ECONNRESET) reset_ = true;
    return n > 0;
  }

  UniqueFd fd_;
  std::string pending_;
  bool ended_ = false;
  bool reset_ = false;
};

// A blocking listener on a free port of loopback.
class RawServer {
 public:
  RawServer() {
    auto listener = listen_on(TcpEndpoint{"127.0.0.1", 0});
    if (!listener) throw std::runtime_error(listener.error().what);
    port = std::get<TcpEndpoint>(listener->endpoint).port;
    fd_ = std::move(listener->fd);
  }
  Peer accept() {
    pollfd ready{fd_.get(), POLLIN, 0};
    if (::poll(&ready, 1, 10'000) != 1) ADD_FAILURE() << "nobody connected";
    return Peer(UniqueFd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
  [[nodiscard]] bool anybody_waits() const {
    pollfd ready{fd_.get(), POLLIN, 0};
    return ::poll(&ready, 1, 0) == 1;
  }

  std::uint16_t port = 0;

 private:
  UniqueFd fd_;
};

}  // namespace talaria::test
