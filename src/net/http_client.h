#pragma once
// HTTP/1.1 client over TCP, TLS (verified against the system's store, or ca_file; server name checked; TLS 1.2 and
// later) or a UNIX socket. Kept connections are reused per origin, at most `idle_per_origin`; a reused connection that
// turns out closed before a byte of the answer came is replaced by a fresh one once, transparently.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/result.h"
#include "net/http.h"
#include "net/listen.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

struct HttpOrigin {
  bool tls = false;
  std::string host;  // name or address; with `unix_path` only the Host header
  std::uint16_t port = 80;
  std::string unix_path;  // not empty: connect here instead

  friend auto operator<=>(const HttpOrigin&, const HttpOrigin&) = default;
};

struct HttpUrl {
  HttpOrigin origin;
  std::string target;  // "/v1/x?y"
};
// "http://host:port/path", "https://…"; user information in the URL is refused (secrets never in URLs).
[[nodiscard]] Result<HttpUrl> parse_http_url(std::string_view text);

struct HttpClientOptions {
  std::size_t header_bytes = 64 * 1024;
  std::size_t body_bytes = 16 * 1024 * 1024;  // of a whole response, streamed or not; more: ErrorKind::limit
  std::size_t idle_per_origin = 8;
  Millis idle_time{60'000};
  Millis connect_time{10'000};
  std::string ca_file;  // PEM; empty: the system's store
  // False: a request whose kept connection turns out closed fails, with `sent` set, in place of being sent again; for
  // requests that must not arrive twice.
  bool replays = true;
};

// How far a failed request had come: a caller retries only what is safe.
struct HttpFailure {
  Error error;
  bool sent = false;      // the request may have reached the server
  bool answered = false;  // a status line had arrived
};

class HttpClient {
 public:
  explicit HttpClient(asio::any_io_executor executor, HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // The whole exchange, body collected.
  Task<std::expected<HttpResponse, HttpFailure>> request(HttpOrigin origin, HttpRequest request, Deadline deadline);

  // Streams the body: `on_head` once (return false to stop and close), then `on_data` for each piece as it arrives
  // (return false to stop and close). The returned response has status and headers; its body is empty.
  using OnHead = std::function<bool(const HttpResponse& head)>;
  using OnData = std::function<bool(std::string_view piece)>;
  Task<std::expected<HttpResponse, HttpFailure>> stream(HttpOrigin origin, HttpRequest request, Deadline deadline,
                                                        OnHead on_head, OnData on_data);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace talaria
