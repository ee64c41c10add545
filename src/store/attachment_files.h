#pragma once
// The files that come with messages: each under a random name in one directory of the profile's state, on disk before
// the message is journalled. They go when the store would have forgotten the message. Blocking: for the store's thread.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace talaria {

// Writes a new file, mode 0600, and its directory's entry to disk; returns its path. Of `name` only a plain extension
// is taken over. `unavailable`: the disk is full or read-only.
[[nodiscard]] Result<std::string> keep_attachment_file(const std::string& directory, std::string_view name,
                                                       std::string_view bytes);

// Removes files that were written before that time; returns how many. A directory that is not there has none.
int retire_attachment_files(const std::string& directory, UnixMillis before);

}  // namespace talaria
