#pragma once
// What an SMTP server says (RFC 5321, 4.2): three digits and a text, over several lines where "-" follows the digits.

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace talaria::mail {

struct SmtpReply {
  int code = 0;                    // 200 to 599
  std::vector<std::string> lines;  // without the digits
  [[nodiscard]] bool good() const { return code / 100 == 2; }
  [[nodiscard]] bool transient() const { return code / 100 == 4; }
};

// Takes a whole reply off the front of `input`; none: more bytes are needed. An error (`invalid`, `limit`): this is no
// SMTP.
[[nodiscard]] Result<std::optional<SmtpReply>> take_smtp_reply(std::string& input);

}  // namespace talaria::mail
