#pragma once
// One connection of the HTTP server: reads a request, lets an exchange answer it, and does so again while both sides
// want to. Private to net/. Memory while idle: this object, one coroutine frame and one small buffer.

#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include <sys/uio.h>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "base/fd.h"
#include "net/http_server.h"
#include "net/request_reader.h"
#include "net/watchdog.h"

namespace talaria {

class HttpConnection;

// The Date header, made once a second at most.
class HttpDate {
 public:
  [[nodiscard]] std::string_view now();

 private:
  std::time_t made_at_ = -1;
  std::string text_;
};

// What the connections of one server share.
struct HttpServerCore {
  HttpServerCore(asio::any_io_executor ex, HttpServerLimits l, HttpHandler h, std::function<void(std::string_view)> bug)
      : executor(std::move(ex)), limits(l), handler(std::move(h)), on_bug(std::move(bug)), dog(executor) {}

  void report_bug(std::string_view what) const {
    if (on_bug) on_bug(what);
  }

  asio::any_io_executor executor;
  HttpServerLimits limits;
  HttpHandler handler;
  std::function<void(std::string_view)> on_bug;
  Watchdog dog;
  HttpDate date;
  std::unordered_set<HttpConnection*> connections;
  std::size_t exchanges = 0;
  std::size_t refusing = 0;  // connections beyond the limit that are being told so
  bool stopping = false;
  bool handing_over = false;  // connections between two exchanges are put aside
  std::vector<UniqueFd> put_aside;
  std::uint64_t address = 0;  // grows with each move to another address
};

struct HttpPeer {
  int family = 0;
  std::string name;  // HttpRequest::peer
  int uid = -1;
  int pid = -1;
};

class HttpConnection {
 public:
  // Takes over a connected, non-blocking socket. `refused`: beyond the limit, not counted as a connection.
  HttpConnection(std::shared_ptr<HttpServerCore> core, UniqueFd fd, HttpPeer peer, bool refused);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  Task<> serve();        // until the connection ends
  Task<> refuse();       // 503 and close
  void close_if_idle();  // or puts it aside, where the server hands its connections over

  // For the exchange. Writes all parts with one system call where the peer keeps up; a peer that takes nothing for
  // write_time is cut. False: the connection is broken, for good.
  Task<bool> write_all(std::span<iovec> parts);
  [[nodiscard]] bool broken() const { return broken_; }
  void break_off();  // closes at once; the peer sees a reset rather than a clean end
  [[nodiscard]] asio::generic::stream_protocol::socket& socket() { return socket_; }
  [[nodiscard]] HttpServerCore& core() { return *core_; }
  // No further request is read here: the server stops, or has left the address that this connection came by.
  [[nodiscard]] bool closing() const { return core_->stopping || core_->address != address_; }
  // Just accepted, and its first request is not whole yet: closing now would cut off a client that did nothing wrong.
  [[nodiscard]] bool newcomer() const;

 private:
  enum class Got { request, closed, rejected };
  Task<Got> read_request();
  Task<bool> fill();  // reads more into input_; false: closed, broken or out of time
  void take_from_input();
  void put_aside();
  Task<bool> exchange();  // true: another request may follow
  Task<> reject(HttpRejection rejection);
  Task<> linger();
  // Sends what the socket takes now and moves `parts` on. False: broken.
  bool write_some(std::span<iovec>& parts);

  std::shared_ptr<HttpServerCore> core_;
  HttpPeer peer_;
  asio::generic::stream_protocol::socket socket_;
  Watchdog::Watch watch_;
  RequestReader reader_;
  boost::beast::flat_buffer input_;
  std::string head_;  // of the answer, reused
  const std::uint64_t address_;
  const SteadyClock::time_point accepted_ = SteadyClock::now();
  bool refused_;
  bool idle_ = true;  // no byte of a request has come yet
  bool first_ = true;
  bool broken_ = false;
  bool interrupted_ = false;  // the last read was cancelled, nothing is wrong with the connection
  friend class HttpServerExchange;
};

[[nodiscard]] inline iovec to_iovec(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size()};  // sendmsg(2) only reads
}

}  // namespace talaria
