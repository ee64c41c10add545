#pragma once
// One HTTP/1.1 response from bytes, in memory, no sockets (RFC 9112): the client's counterpart of RequestReader.
// Interim (1xx) responses are skipped. Private to net/.

#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "net/http.h"

namespace talaria {

struct ResponseReaderSetup {
  std::size_t header_bytes;
  std::size_t body_bytes;
  bool head_only = false;  // the answer to HEAD: no body whatever the fields say
  // Called from feed(); false stops the reader.
  std::function<bool(const HttpResponse& head)> on_head;
  std::function<bool(std::string_view piece)> on_data;
};

class ResponseReader {
 public:
  explicit ResponseReader(ResponseReaderSetup setup);
  ~ResponseReader();

  // Takes what it can from the front of `bytes` and returns how much that was; the rest comes again with more behind
  // it. Errors: `limit` for our bounds, `invalid` for what is no HTTP response.
  Result<std::size_t> feed(std::string_view bytes);
  // The peer has closed: the regular end of a body without a length, else an error (`unavailable`).
  Result<> feed_end();

  [[nodiscard]] bool answered() const;  // the status line of a final response was read
  [[nodiscard]] bool done() const;
  [[nodiscard]] bool stopped() const;     // a callback said false
  [[nodiscard]] bool keep_alive() const;  // known when done(): the connection can carry another request
  HttpResponse take();                    // status and headers

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace talaria
