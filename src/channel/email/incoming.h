#pragma once
// A mail from the mailbox → what the gateway is told, or why nobody is told. The route: the conversation is the
// sender's address, the thread the first message of the mail's thread, and what the answer's header needs of the mail
// it answers travels as Route::reply_to, see AnswerTo.

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "channel/channel.h"
#include "channel/email/mime.h"
#include "channel/email/sender.h"

namespace talaria::mail {

inline constexpr std::size_t max_mail = 32 * 1024 * 1024;  // bytes; of a larger one the rest is not read

// The mail that is answered, in a form that Route::reply_to can carry: one line for each member.
struct AnswerTo {
  std::string message_id;               // "<…>"; empty: it had none
  std::string subject;                  // without "Re:"
  std::vector<std::string> references;  // of the thread, oldest first, with message_id at the end
};
[[nodiscard]] std::string pack(const AnswerTo& answer_to);
[[nodiscard]] AnswerTo unpack(std::string_view reply_to);

struct Fetched {
  std::uint32_t uid = 0;
  std::string bytes;  // at most max_mail of it
  std::int64_t size = 0;
  UnixMillis received_at = 0;  // IMAP's INTERNALDATE
};

struct Skipped {
  std::string why;
  std::string message_id;
};

struct Incoming {
  InboundEvent event;       // without its attachments
  std::vector<File> files;  // to be kept first
};

struct IncomingRules {
  std::string channel;      // its name
  std::string own_address;  // in lower case
  SenderRules sender;
};

[[nodiscard]] std::variant<Incoming, Skipped> read_mail(const Fetched& fetched, const IncomingRules& rules);

// A subject without its chain of "Re:", "AW:", "Fwd:" ….
[[nodiscard]] std::string base_subject(std::string_view subject);

}  // namespace talaria::mail
