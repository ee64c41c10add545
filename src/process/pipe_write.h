#pragma once
// Writing to a pipe whose reader may be gone.

#include <sys/types.h>

#include <string_view>

namespace talaria {

// write(2) to a pipe that nobody reads raises SIGPIPE in this thread. Whether the process ignores it is not ours to
// decide: it is held back and taken away here. Returns and sets errno as write(2) does.
[[nodiscard]] ssize_t write_without_signal(int fd, std::string_view text);

}  // namespace talaria
