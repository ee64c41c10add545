#pragma once
// The log: to journald with its own fields where systemd reads our standard error (JOURNAL_STREAM, systemd.exec(5)),
// else plain lines on standard error. A thread of its own writes, so that a stuck journal or terminal never holds up
// the event loop; when 256 lines wait, the oldest are dropped, and a line says how many. Only gateway/ and the rooms
// above it log.

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace talaria::log {

enum class Level { debug, info, warning, error };

// Once, at the start of a daemon. Without it, lines go nowhere.
void start(std::string_view profile, Level least = Level::info);
// Writes out what waits and ends the thread.
void stop();
void write(Level level, std::string_view line);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace talaria::log
