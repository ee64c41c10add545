#pragma once
// A connected byte stream as a client sees it: TCP or UNIX socket, with TLS or without. Under both the HTTP client and
// Stream. Private to net/.
//
// One read and one write may be under way at the same time. Deadlines share the socket's one way to be interrupted,
// cancel(): it wakes both sides, and the side whose time has not run out tries again, which a wait for readiness allows
// at any point.

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/generic/stream_protocol.hpp>

#include "base/result.h"
#include "net/tls.h"
#include "net/watchdog.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

class Transport {
 public:
  Transport(asio::any_io_executor executor, Watchdog& dog);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Each once, in this order. On an error the transport is of no more use.
  Task<Result<>> connect_tcp(std::string host, std::uint16_t port,
                             Deadline deadline);  // every address of the name in turn
  Task<Result<>> connect_unix(std::string path, Deadline deadline);
  Task<Result<>> start_tls(std::shared_ptr<TlsContext> context, std::string host, std::string_view alpn,
                           Deadline deadline);

  // At least one byte, or 0 at the end of the stream. A TLS stream that ends without close_notify is an error
  // (`unavailable`).
  Task<Result<std::size_t>> read_some(std::span<char> into, Deadline deadline);
  Task<Result<>> write_all(std::string_view data, Deadline deadline);

  // Nothing has come and the peer has not closed: fit to carry another request. A guess, the peer may be closing right
  // now.
  [[nodiscard]] bool is_quiet();
  void close();  // says goodbye in TLS as far as that goes without waiting
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }

 private:
  enum class Wake { ready, timeout, closed };
  Task<Wake> wait(asio::socket_base::wait_type what, Watchdog::Watch& watch, Deadline deadline);
  Task<Result<>> connect(int family, const void* address, unsigned size, Deadline deadline);
  // What a wait's bad end means to a caller.
  static std::unexpected<Error> interrupted(Wake wake, std::string_view doing);
  Task<Result<>> write_plain(std::string_view data, Deadline deadline);
  Task<Result<>> write_tls(std::string_view data, Deadline deadline);
  Task<Result<std::size_t>> read_tls(std::span<char> into, Deadline deadline);
  [[nodiscard]] std::unexpected<Error> tls_error(TlsSession::Step step, std::string_view doing) const;

  asio::generic::stream_protocol::socket socket_;
  Watchdog::Watch read_watch_;
  Watchdog::Watch write_watch_;
  std::unique_ptr<TlsSession> tls_;
};

}  // namespace talaria
