#pragma once
// Listening sockets, made without the event loop.

#include <cstdint>
#include <string>
#include <variant>

#include "base/fd.h"
#include "base/result.h"

namespace talaria {

struct TcpEndpoint {
  std::string host;  // a numeric address, "127.0.0.1" or "::1"; "localhost" is 127.0.0.1
  std::uint16_t port = 0;
};
struct UnixEndpoint {
  std::string path;  // absolute, at most 107 bytes (sockaddr_un, unix(7))
};
using Endpoint = std::variant<TcpEndpoint, UnixEndpoint>;

// "127.0.0.1:8790", "[::1]:8790", "localhost:8790", "unix:/path".
[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view text);
[[nodiscard]] std::string to_string(const Endpoint& endpoint);
[[nodiscard]] bool is_loopback(const Endpoint& endpoint);  // UNIX sockets count

struct Listener {
  UniqueFd fd;        // non-blocking, close-on-exec, backlog SOMAXCONN
  Endpoint endpoint;  // with the real port where 0 was asked for
};
// TCP: SO_REUSEADDR. UNIX: mode 0600; a socket file that nobody listens on is replaced, one that is alive is
// `conflict`. EADDRINUSE → conflict, with the PID and command that hold a TCP port where /proc tells.
[[nodiscard]] Result<Listener> listen_on(const Endpoint& endpoint);
// The same beside a listening socket of ours (-1: none) that may be in the way: one on 127.0.0.1:80 excludes one on
// 0.0.0.0:80, unless both say SO_REUSEPORT for that moment (socket(7)).
[[nodiscard]] Result<Listener> listen_beside(const Endpoint& endpoint, int ours);

// Goes on with a listening socket that somebody opened before us (a service manager's fd store, the program that we
// replaced), when it is just what listen_on(endpoint) would make; port 0 fits any port. `conflict`: it is something
// else, the message says what. Takes `fd` on success only.
[[nodiscard]] Result<Listener> adopt_listener(UniqueFd& fd, const Endpoint& endpoint);

}  // namespace talaria
