#pragma once
// A byte stream to a TCP peer, with or without TLS, for line protocols (IRC, IMAP, SMTP).

#include <memory>
#include <string>

#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

struct DialOptions {
  std::string host;
  std::uint16_t port = 0;
  bool tls = false;
  std::string ca_file;  // PEM; empty: the system's store
};

class Stream {
 public:
  virtual ~Stream() = default;
  // Appends at least one byte to `buffer` (at most `max` bytes); `unavailable` "connection closed" at the end of the
  // stream.
  virtual Task<Result<std::size_t>> read_some(std::string& buffer, std::size_t max, Deadline deadline) = 0;
  virtual Task<Result<>> write_all(std::string_view data, Deadline deadline) = 0;
  // Goes on in TLS (STARTTLS): shakes hands and verifies the peer as dial() does. The caller must have read everything
  // that came in the clear: what is left of it must not count as said under TLS (CVE-2011-0411). Once.
  virtual Task<Result<>> start_tls(std::string /*host*/, std::string /*ca_file*/, Deadline /*deadline*/) {
    co_return fail(ErrorKind::internal, "this stream has no TLS");
  }
  virtual void close() = 0;  // at once, pending operations end with an error
};

// Resolves (off the loop's thread), connects to each address in turn, shakes hands and verifies the peer's certificate
// and name.
Task<Result<std::unique_ptr<Stream>>> dial(DialOptions options, Deadline deadline);

}  // namespace talaria
