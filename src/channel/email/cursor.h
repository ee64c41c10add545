#pragma once
// How far a mailbox was read, as text for Inbox::cursor(): "v1 UIDVALIDITY UID SINCE".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace talaria::mail {

struct MailCursor {
  std::uint32_t uid_validity = 0;
  std::uint32_t uid = 0;  // of the last mail that was dealt with
  UnixMillis since = 0;   // mails from before are none of ours; 0: all are
};
[[nodiscard]] std::string to_text(const MailCursor& cursor);
[[nodiscard]] std::optional<MailCursor> parse_cursor(std::string_view text);

}  // namespace talaria::mail
