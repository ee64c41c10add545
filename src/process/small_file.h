#pragma once
// Reading files that ought to be small: /proc entries, lock and marker files. Whatever stands there instead (a device,
// an endless file), no more than `limit` bytes are read and nothing blocks.

#include <cstddef>
#include <string>

#include "base/result.h"

namespace talaria {

// From the beginning of `fd`, at most `limit` bytes; more is ErrorKind::limit. `name` is for the message.
[[nodiscard]] Result<std::string> read_small(int fd, std::size_t limit, const std::string& name);

// The same for a path. For /proc and /sys only: follows symbolic links.
[[nodiscard]] Result<std::string> read_small_file(const std::string& path, std::size_t limit);

// The beginning of a file in /proc that may be long: at most `bytes` bytes.
[[nodiscard]] Result<std::string> read_beginning(const std::string& path, std::size_t bytes);

inline constexpr std::size_t max_proc_stat = 4096;  // /proc/PID/stat: 52 numbers of at most 20 digits and a name

// Writes all of `text` at offset 0, retrying short writes; does not truncate.
[[nodiscard]] Result<> write_at_start(int fd, std::string_view text, const std::string& name);

}  // namespace talaria
