#pragma once
// One mail to one SMTP server (RFC 5321): greeting, STARTTLS, login, envelope, content, goodbye.
//
// What a failure means for the mail is decided by one moment: the dot that ends the content. Before it is written no
// server has the mail; after it only its reply says whether it has (RFC 5321, 4.5.4.2 and RFC 1047).

#include <memory>
#include <string>

#include "channel/channel.h"
#include "channel/email/wire.h"

namespace talaria::mail {

struct Envelope {
  std::string from, to;  // addresses
};

struct SmtpTimes {
  Millis connect{30'000};
  Millis answer{60'000};
  Millis final_answer{600'000};  // to the dot (RFC 5321, 4.5.3.2.6)
};

// `content`: a whole mail, lines end in CRLF.
Task<std::expected<void, DeliveryError>> send_mail(Dialer dial, MailServer server, Envelope envelope,
                                                   std::string content, SmtpTimes times);

// The content as it goes over the wire: a dot before each line that begins with one, CRLF at the end, without the
// final dot (RFC 5321, 4.5.2).
[[nodiscard]] std::string stuffed(std::string_view content);

}  // namespace talaria::mail
