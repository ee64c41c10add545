#pragma once
// Words for whoever reads standard error. They never stand in the way of what the process does next: a reader that is
// gone, a full disk or a full pipe that does not block costs the words and nothing else.

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace talaria {

// As much of the text as standard error takes. Waits where standard error blocks.
void write_to_stderr(std::string_view text) noexcept;

template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  write_to_stderr(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace talaria
