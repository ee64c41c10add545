#pragma once
// The client's side of TLS: OpenSSL straight on a non-blocking socket. No memory buffers in between, and every wait is
// one plain wait for readiness, which can be cancelled or run out of time without hurting the session.
//
// Verified: the chain (system's store or a file), the name or address, TLS 1.2 and later. Private to net/.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace talaria {

// What certificates are checked against. Costs a few hundred KiB and some milliseconds: made at the first need.
class TlsContext {
 public:
  // `ca_file`: PEM, replaces the system's store; empty: the store. Reads files.
  static Result<std::shared_ptr<TlsContext>> make(const std::string& ca_file);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

 private:
  friend class TlsSession;
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
};

class TlsSession {
 public:
  enum class Step {
    done,
    want_read,   // wait until the socket is readable, then call again
    want_write,  // until it is writable
    closed,      // the peer said goodbye (close_notify)
    cut,         // the connection ended without it
    failed,      // see error()
  };

  // On a connected socket that stays the caller's and outlives the session. `alpn`: "http/1.1" or empty.
  static Result<std::unique_ptr<TlsSession>> make(std::shared_ptr<TlsContext> context, int fd, const std::string& host,
                                                  std::string_view alpn);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  Step handshake();
  Step read(std::span<char> into, std::size_t& count);
  Step write(std::string_view data, std::size_t& count);
  void say_goodbye();                      // close_notify, as far as the socket takes it
  [[nodiscard]] bool has_pending() const;  // bytes taken from the socket, not yet read
  [[nodiscard]] const Error& error() const { return error_; }

 private:
  TlsSession(std::shared_ptr<TlsContext> context, ssl_st* ssl) : context_(std::move(context)), ssl_(ssl) {}
  Step step(int result);

  std::shared_ptr<TlsContext> context_;
  ssl_st* ssl_;
  Error error_;
  bool ended_ = false;  // OpenSSL forbids further calls, shutdown included, after a fatal error
};

}  // namespace talaria
