#pragma once
// A reply → a mail. Its Message-ID follows from the reply itself: the same outbox row sent again is the same mail,
// which the receiving server or the reader's program shows once. It carries what keeps it in its thread (RFC
// 5322, 3.6.4), what tells other programs not to answer it (RFC 3834), and nothing from anybody can add a header field
// to it.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "channel/channel.h"

namespace talaria::mail {

struct Author {
  std::string address, name;
  std::string channel;  // its name in the configuration: two channels never share a Message-ID
};

struct OutgoingFile {
  std::string name, type, bytes;
};

struct Composed {
  std::string message_id;  // "<…@…>"
  std::string bytes;       // lines end in CRLF, ASCII alone but for addresses
};

// `note`: stands below the text, and has no part in the Message-ID.
[[nodiscard]] Composed compose(const Reply& reply, const Author& author, const std::vector<OutgoingFile>& files,
                               std::string_view note, UnixMillis now);

// Whether a mail may be addressed to it as it stands.
[[nodiscard]] bool is_address(std::string_view text);
[[nodiscard]] bool is_ascii(std::string_view text);

// "Sat, 21 Nov 2026 17:03:12 +0000"
[[nodiscard]] std::string format_date(UnixMillis t);

}  // namespace talaria::mail
