#include "net/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "net/port_holder.h"

namespace talaria {

namespace {

constexpr std::string_view example = R"(write for example "127.0.0.1:8790", "[::1]:8790" or "unix:/run/talaria.sock")";

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<Address> numeric_address(const std::string& host, std::uint16_t port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size = sizeof *v4;
    return address;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size = sizeof *v6;
    return address;
  }
  return std::nullopt;
}

Result<Address> unix_address(const std::string& path) {
  Address address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string::npos) {
    return fail(ErrorKind::invalid, fmt::format("\"{}\" is not an absolute path for a UNIX socket; {}", path, example));
  }
  if (path.size() >= sizeof un->sun_path) {
    return fail(ErrorKind::invalid,
                fmt::format("the path of the UNIX socket \"{}\" has {} bytes, the system allows {}; "
                            "choose a shorter one",
                            path, path.size(), sizeof un->sun_path - 1));
  }
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

Result<UniqueFd> make_socket(int family, std::string_view what) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno(errno, fmt::format("create a socket for {}", what));
  return fd;
}

void share_port(int fd, bool share) {
  const int on = share ? 1 : 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

Result<Listener> listen_tcp(const TcpEndpoint& wanted, bool beside_ours = false) {
  const std::string name = to_string(wanted);
  const auto address = numeric_address(wanted.host == "localhost" ? "127.0.0.1" : wanted.host, wanted.port);
  if (!address) {
    return fail(ErrorKind::invalid,
                fmt::format("listen on {}: \"{}\" is not a numeric address; {}", name, wanted.host, example));
  }
  auto fd = make_socket(address->storage.ss_family, name);
  if (!fd) return std::unexpected(fd.error());
  const int on = 1;
  setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (beside_ours) share_port(fd->get(), true);
  if (::bind(fd->get(), address->get(), address->size) != 0 || ::listen(fd->get(), SOMAXCONN) != 0) {
    const int err = errno;
    if (err != EADDRINUSE) return fail_errno(err, fmt::format("listen on {}", name));
    const auto holder = find_port_holder(wanted.port);
    return fail(ErrorKind::conflict, holder ? fmt::format("listen on {}: the port is held by process {} ({})", name,
                                                          holder->pid, holder->command)
                                            : fmt::format("listen on {}: the port is held by another process", name));
  }
  if (beside_ours) share_port(fd->get(), false);
  Address real;
  real.size = sizeof real.storage;
  TcpEndpoint endpoint = wanted;
  if (getsockname(fd->get(), reinterpret_cast<sockaddr*>(&real.storage), &real.size) == 0) {
    // sin_port and sin6_port stand at the same place (RFC 3493, 3.3).
    endpoint.port = ntohs(reinterpret_cast<const sockaddr_in*>(&real.storage)->sin_port);
  }
  return Listener{std::move(*fd), endpoint};
}

// Makes room at `path`: removes a socket file that nobody listens on. Anything else found there is a conflict.
Result<> remove_dead_socket(const std::string& path, const Address& address) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return fail_errno(errno, fmt::format("look at {}", path));
  }
  if (!S_ISSOCK(info.st_mode)) {
    return fail(ErrorKind::conflict,
                fmt::format("listen on unix:{}: the path exists and is not a socket; remove it or choose "
                            "another",
                            path));
  }
  auto probe = make_socket(AF_UNIX, path);
  if (!probe) return std::unexpected(probe.error());
  if (::connect(probe->get(), address.get(), address.size) == 0 || errno == EAGAIN) {
    return fail(ErrorKind::conflict, fmt::format("listen on unix:{}: another process listens there", path));
  }
  if (errno != ECONNREFUSED && errno != ENOENT) return fail_errno(errno, fmt::format("connect to unix:{}", path));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, fmt::format("remove the dead socket {}", path));
  return {};
}

Result<Listener> listen_unix(const UnixEndpoint& wanted) {
  const auto address = unix_address(wanted.path);
  if (!address) return std::unexpected(address.error());
  if (auto room = remove_dead_socket(wanted.path, *address); !room) return std::unexpected(room.error());
  auto fd = make_socket(AF_UNIX, wanted.path);
  if (!fd) return std::unexpected(fd.error());
  // The mode of the descriptor becomes the mode of the file at bind(): there is no moment with a wider one, and no need
  // to touch the process-wide umask.
  if (::fchmod(fd->get(), 0600) != 0) return fail_errno(errno, fmt::format("set the mode of {}", wanted.path));
  if (::bind(fd->get(), address->get(), address->size) != 0 || ::listen(fd->get(), SOMAXCONN) != 0) {
    return fail_errno(errno, fmt::format("listen on unix:{}", wanted.path));
  }
  return Listener{std::move(*fd), wanted};
}

std::unexpected<Error> bad_endpoint(std::string_view text, std::string_view why) {
  return fail(ErrorKind::invalid, fmt::format("\"{}\" is not an address to listen on: {}; {}", text, why, example));
}

Result<Address> address_of(const Endpoint& endpoint) {
  if (const auto* un = std::get_if<UnixEndpoint>(&endpoint)) return unix_address(un->path);
  const auto& tcp = std::get<TcpEndpoint>(endpoint);
  const auto address = numeric_address(tcp.host == "localhost" ? "127.0.0.1" : tcp.host, tcp.port);
  if (!address) return fail(ErrorKind::invalid, fmt::format("\"{}\" is not a numeric address", tcp.host));
  return *address;
}

// sin_port and sin6_port stand at the same place (RFC 3493, 3.3).
in_port_t& port_of(Address& address) { return reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port; }

bool is_listening_stream(int fd) {
  int type = 0;
  int listening = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) return false;
  size = sizeof listening;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

bool same_address(const Address& there, const Address& wanted) {
  if (there.storage.ss_family != wanted.storage.ss_family) return false;
  switch (wanted.storage.ss_family) {
    case AF_INET:
      return reinterpret_cast<const sockaddr_in*>(&there.storage)->sin_addr.s_addr ==
             reinterpret_cast<const sockaddr_in*>(&wanted.storage)->sin_addr.s_addr;
    case AF_INET6:
      return IN6_ARE_ADDR_EQUAL(&reinterpret_cast<const sockaddr_in6*>(&there.storage)->sin6_addr,
                                &reinterpret_cast<const sockaddr_in6*>(&wanted.storage)->sin6_addr);
    default: break;
  }
  // There is no terminating zero when the path fills the address.
  const auto* path = reinterpret_cast<const sockaddr_un*>(&there.storage)->sun_path;
  const std::string_view bound(path, ::strnlen(path, sizeof(sockaddr_un::sun_path)));
  return bound == reinterpret_cast<const sockaddr_un*>(&wanted.storage)->sun_path;
}

// A name that was removed leads nobody to a UNIX socket, however alive it is.
bool has_its_name(const Endpoint& endpoint) {
  const auto* un = std::get_if<UnixEndpoint>(&endpoint);
  struct stat info{};
  return un == nullptr || (::lstat(un->path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode));
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  if (text.starts_with("unix:")) {
    UnixEndpoint endpoint{std::string(text.substr(5))};
    if (auto address = unix_address(endpoint.path); !address) return std::unexpected(address.error());
    return endpoint;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad_endpoint(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']') && host.size() > 2;
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (bracketed != (host.find(':') != std::string_view::npos)) {
    return bad_endpoint(text, "square brackets belong around an IPv6 address, and only there");
  }
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (ec != std::errc{} || end != digits.data() + digits.size()) {
    return bad_endpoint(text, fmt::format("\"{}\" is not a port from 0 to 65535", digits));
  }
  TcpEndpoint endpoint{std::string(host), port};
  if (endpoint.host.find('\0') != std::string::npos ||
      (endpoint.host != "localhost" && !numeric_address(endpoint.host, port))) {
    return bad_endpoint(text, fmt::format("\"{}\" is not a numeric address", host));
  }
  return endpoint;
}

std::string to_string(const Endpoint& endpoint) {
  if (const auto* tcp = std::get_if<TcpEndpoint>(&endpoint)) {
    return tcp->host.find(':') == std::string::npos ? fmt::format("{}:{}", tcp->host, tcp->port)
                                                    : fmt::format("[{}]:{}", tcp->host, tcp->port);
  }
  return "unix:" + std::get<UnixEndpoint>(endpoint).path;
}

bool is_loopback(const Endpoint& endpoint) {
  const auto* tcp = std::get_if<TcpEndpoint>(&endpoint);
  if (tcp == nullptr || tcp->host == "localhost") return true;
  const auto address = numeric_address(tcp->host, tcp->port);
  if (!address) return false;
  if (address->storage.ss_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in*>(&address->storage)->sin_addr.s_addr) >> 24) == 127;
  }
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(&address->storage)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

Result<Listener> listen_on(const Endpoint& endpoint) {
  if (const auto* tcp = std::get_if<TcpEndpoint>(&endpoint)) return listen_tcp(*tcp);
  return listen_unix(std::get<UnixEndpoint>(endpoint));
}

Result<Listener> adopt_listener(UniqueFd& fd, const Endpoint& endpoint) {
  const std::string name = to_string(endpoint);
  const auto other = [&](std::string_view why) {
    return fail(ErrorKind::conflict, fmt::format("the inherited descriptor is not {}: {}", name, why));
  };
  auto wanted = address_of(endpoint);
  if (!wanted) return std::unexpected(wanted.error());
  if (!is_listening_stream(fd.get())) return other("it is no listening socket");
  Address there;
  there.size = sizeof there.storage;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&there.storage), &there.size) != 0 ||
      !same_address(there, *wanted))
    return other("it listens at another address");
  const bool tcp = std::holds_alternative<TcpEndpoint>(endpoint);
  if (tcp && port_of(*wanted) != 0 && port_of(there) != port_of(*wanted)) return other("it listens at another port");
  if (!has_its_name(endpoint)) return other("its path was removed");
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0)
    return fail_errno(errno, fmt::format("adopt {}", name));
  // Again, for the backlog: whoever opened it may have asked for a shorter one.
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail_errno(errno, fmt::format("listen on {}", name));
  Endpoint real = endpoint;
  if (tcp) std::get<TcpEndpoint>(real).port = ntohs(port_of(there));
  return Listener{std::move(fd), std::move(real)};
}

Result<Listener> listen_beside(const Endpoint& endpoint, int ours) {
  auto listener = listen_on(endpoint);
  const auto* tcp = std::get_if<TcpEndpoint>(&endpoint);
  if (listener || listener.error().kind != ErrorKind::conflict || tcp == nullptr || ours < 0) return listener;
  Address address;
  address.size = sizeof address.storage;
  const bool same_port = getsockname(ours, reinterpret_cast<sockaddr*>(&address.storage), &address.size) == 0 &&
                         address.storage.ss_family != AF_UNIX && ntohs(port_of(address)) == tcp->port;
  if (!same_port) return listener;
  share_port(ours, true);
  listener = listen_tcp(*tcp, true);
  share_port(ours, false);
  return listener;
}

}  // namespace talaria
