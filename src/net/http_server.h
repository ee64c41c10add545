#pragma once
// HTTP/1.1 server (RFC 9112) over TCP or a UNIX socket, on the event loop's thread. Bounded everywhere: header size,
// body size, number of connections, time to send a request, time a client may take to read an answer. A slow client
// holds up nobody.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/fd.h"
#include "base/result.h"
#include "net/http.h"
#include "runtime/deadline.h"
#include "runtime/event.h"
#include "runtime/task.h"

namespace talaria {

struct HttpServerLimits {
  std::size_t header_bytes = 16 * 1024;      // more: 431
  std::size_t body_bytes = 4 * 1024 * 1024;  // more: 413
  std::size_t connections = 1024;            // more: accepted, answered 503 and closed
  Millis request_time{15'000};               // from the first byte of a request to its last: 408
  Millis idle_time{75'000};                  // between requests of a kept connection
  Millis write_time{30'000};                 // one write without progress: the connection is cut
};

// One request's answer. Exactly one of send() or begin()…end() per exchange.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  // Sends a whole response with Content-Length. False: the client is gone.
  virtual Task<bool> send(HttpResponse response) = 0;
  // Streams: begin() sends the head (chunked transfer coding), write() one chunk each, end() the last chunk.
  virtual Task<bool> begin(HttpResponse head) = 0;
  virtual Task<bool> write(std::string_view data) = 0;
  virtual Task<bool> end() = 0;
  // Set as soon as the client has closed its side or the connection broke, while the handler works on something else.
  // The watch costs a read on the socket, so it begins with the first call of this function.
  [[nodiscard]] virtual Event& client_gone() = 0;
};

using HttpHandler = std::function<Task<>(HttpRequest, HttpExchange&)>;

class HttpServer {
 public:
  // `on_bug` hears what a handler threw (other than cancellation); that client gets a bare 500.
  HttpServer(asio::any_io_executor executor, HttpServerLimits limits, HttpHandler handler,
             std::function<void(std::string_view)> on_bug = {});
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  // Takes over a listening, non-blocking stream socket (see net/listen.h) and starts to accept. May be called for
  // several.
  Result<> serve(UniqueFd listener);

  // Serves at this socket instead of those before, without a moment in between. Connections that came by them end after
  // the exchange they are in; -1: nowhere, until serve() or another move.
  Result<> move_to(UniqueFd listener);
  // For connections, and requests on them, that come from now on.
  void set_limits(HttpServerLimits limits);
  // A listening socket of ours; -1: none.
  [[nodiscard]] int listener() const;

  // Closes the listeners and idle connections; exchanges in progress go on, their connections close after them. A
  // connection that was accepted in the last half second has the rest of it for its first request.
  void stop_accepting();
  // Another program takes our clients over: closes the listeners, lets exchanges go on, and puts every connection aside
  // as soon as it is between two exchanges, instead of closing it. handed_over() waits until none is left; then
  // take_handed_over() has those that were put aside, for adopt() of another server.
  void begin_hand_over();
  Task<> handed_over();
  [[nodiscard]] std::vector<UniqueFd> take_handed_over();
  // Goes on with a connection that is between two exchanges. One whose client is gone is closed.
  void adopt(UniqueFd connection);
  // Cancels every exchange, then waits until all are gone. False: some still were at the deadline.
  Task<bool> stop(Deadline deadline);
  [[nodiscard]] std::size_t connections() const;
  [[nodiscard]] std::size_t exchanges() const;  // in progress
  [[nodiscard]] std::size_t newcomers() const;  // connections just accepted whose first request has not come yet

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace talaria
