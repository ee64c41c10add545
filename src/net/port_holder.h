#pragma once
// Who holds a TCP port? For the error message of a listener that finds its port taken.

#include <cstdint>
#include <optional>
#include <string>

namespace talaria {

struct PortHolder {
  int pid = 0;
  std::string command;  // /proc/PID/comm
};

// The process that listens on `port` at any address; nothing where /proc does not tell (another user's process, another
// network namespace). Source: /proc/net/tcp, /proc/net/tcp6, /proc/PID/fd (proc(5)). Reads many small files: for errors
// only.
[[nodiscard]] std::optional<PortHolder> find_port_holder(std::uint16_t port);

}  // namespace talaria
