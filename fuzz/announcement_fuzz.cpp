// An announcement from a hostile hand: no crash, never valid for an incarnation that it does not name, and what was
// read can be written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "process/announcement.h"

using namespace talaria;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Incarnation self{4711, 987654, "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab"};
  const auto announcement = parse_announcement(text);
  if (!announcement) {
    const Announcement ours{self, std::string(text), 1};
    const auto again = parse_announcement(format_announcement(ours));
    if (!again || again->target != self || parse_announcement(format_announcement(*again)) != *again) std::abort();
    return 0;
  }
  if (parse_announcement(format_announcement(*announcement)) != *announcement) std::abort();
  for (const std::int64_t now : {std::int64_t{0}, announcement->boottime_ms, INT64_MAX}) {
    const bool valid = is_valid_for(*announcement, self, now);
    if (valid && (announcement->target != self || announcement->boottime_ms > now)) std::abort();
  }
  if (!is_valid_for(*announcement, announcement->target, announcement->boottime_ms)) std::abort();
  return 0;
}
