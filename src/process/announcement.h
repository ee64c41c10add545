#pragma once
// An announcement says beforehand that one incarnation is about to be ended on purpose. It names that incarnation, is
// consumed once, expires on the boot clock, and counts only when root or the reader's own user wrote it.

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "process/identity.h"

namespace talaria {

struct Announcement {
  Incarnation target;
  std::string by;  // who asked, for the record: "systemd ExecStop=", "talaria gateway stop (PID 4711, alice)"
  std::int64_t boottime_ms = 0;  // CLOCK_BOOTTIME when it was made

  friend bool operator==(const Announcement&, const Announcement&) = default;
};

inline constexpr std::int64_t announcement_lifetime_ms = 30'000;

[[nodiscard]] std::int64_t boottime_now_ms();
[[nodiscard]] std::string format_announcement(const Announcement& announcement);
[[nodiscard]] Result<Announcement> parse_announcement(std::string_view text);  // at most 4 KiB, strict

// Is it meant for `self` and fresh? A time in the future is not.
[[nodiscard]] bool is_valid_for(const Announcement& announcement, const Incarnation& self, std::int64_t boottime_ms);

// The marker file <runtime>/stop.announcement, for when the control socket does not answer. Written whole (temporary +
// rename), mode 0644 when root writes into another user's directory, else 0600.
[[nodiscard]] Result<> leave_announcement(const std::string& runtime_directory, const Announcement& announcement);
// Reads and removes the marker. Empty: none, foreign owner, not for us, expired, unreadable; `why` then says which.
[[nodiscard]] std::optional<Announcement> take_announcement(const std::string& runtime_directory,
                                                            const Incarnation& self, std::string* why = nullptr);

}  // namespace talaria
