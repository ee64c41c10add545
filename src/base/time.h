#pragma once
// Two clocks. Durations, deadlines and timers use the monotonic clock; what people read and what is stored uses wall
// time in milliseconds since the Unix epoch (UTC). The wall clock is passed in so that a test can hold it.

#include <chrono>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace talaria {

using Millis = std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;
using UnixMillis = std::int64_t;  // milliseconds since 1970-01-01T00:00:00Z

class WallClock {
 public:
  virtual ~WallClock() = default;
  [[nodiscard]] virtual UnixMillis now() const = 0;
};

class SystemWallClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override;
};

// "2026-03-01T12:34:56.789Z" (RFC 3339, UTC).
[[nodiscard]] std::string format_rfc3339(UnixMillis t);

// "1.5s", "250ms", "24h", "1h30m" ↔ duration. Units: ms, s, m, h, d; a number without a unit is refused.
[[nodiscard]] Result<Millis> parse_duration(std::string_view text);
[[nodiscard]] std::string format_duration(Millis d);

}  // namespace talaria
