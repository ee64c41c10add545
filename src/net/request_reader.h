#pragma once
// HTTP/1.1 requests from bytes, in memory, no sockets (RFC 9112). Beast's parser does the grammar; this adds what it
// leaves to its user: limits over the whole head, and refusal of whatever two readers could frame in two ways.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/http.h"

namespace talaria {

// A request that can't be served, as the answer to give.
struct HttpRejection {
  int status = 400;
  std::string message;  // plain ASCII without quotes: goes into JSON as it is
};

// Reads one request after another from a byte stream cut anywhere.
class RequestReader {
 public:
  RequestReader(std::size_t header_bytes, std::size_t body_bytes);
  ~RequestReader();

  // Takes what it can from the front of `bytes` and returns how much that was; the caller keeps the rest and brings it
  // again with more behind it. The rest is never longer than the header limit unless the request is rejected or done.
  // Stops at the end of a request. After done() take() comes first; after a rejection the connection is of no more use.
  std::size_t feed(std::string_view bytes);

  [[nodiscard]] bool started() const;  // something of a request was taken
  [[nodiscard]] bool head_done() const;
  [[nodiscard]] bool done() const;
  [[nodiscard]] const std::optional<HttpRejection>& rejection() const;
  // Known at head_done():
  [[nodiscard]] bool wants_continue() const;  // "Expect: 100-continue" of an HTTP/1.1 client
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] bool http11() const;

  HttpRequest take();  // the request, once done(); then ready for the next

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace talaria
