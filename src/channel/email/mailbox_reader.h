#pragma once
// Takes mails from the mailbox to the journal, in the order of their UIDs. The order of steps is the promise: the
// journal has the mail, then it is marked as seen, then the cursor moves. Whatever is cut off in between is done again,
// and the journal recognises the mail.

#include <string>

#include "channel/channel.h"
#include "channel/email/cursor.h"
#include "channel/email/imap_client.h"
#include "channel/email/incoming.h"
#include "channel/email/loop_guard.h"

namespace talaria::mail {

struct ReaderSettings {
  IncomingRules rules;
  std::string mailbox;
  bool backlog = false;
  int answers_per_hour = 30;
  Millis hold_first{100};
  Millis hold_longest{30'000};
};

class MailboxReader {
 public:
  MailboxReader(ReaderSettings settings, Inbox& inbox, const WallClock& clock)
      : settings_(std::move(settings)), inbox_(inbox), clock_(clock), quota_(settings_.answers_per_hour) {}

  // After each login: opens the mailbox and finds the place to go on from.
  Task<Result<>> open(ImapClient& client);
  // Everything that is new. An error ends the connection's use.
  Task<Result<>> read_new(ImapClient& client);

 private:
  Task<Result<>> first_start(ImapClient& client, SelectedMailbox mailbox);
  Task<Result<>> take(ImapClient& client, Fetched fetched);
  Task<bool> bring(Incoming in);
  Task<> keep_files(Incoming& in);
  Task<> save_cursor();
  Task<> note_failure(std::uint32_t uid, Error error);
  [[nodiscard]] bool is_from_before(const Fetched& fetched) const;

  ReaderSettings settings_;
  Inbox& inbox_;
  const WallClock& clock_;
  AnswerQuota quota_;
  MailCursor cursor_;
  std::uint32_t known_end_ = 0;  // UIDNEXT when the mailbox was opened; 0: unknown, or all below was read
  bool renumbered_ = false;      // UIDs are not those of before: dates tell what is ours
  bool unsaved_ = false;
  std::uint32_t failed_uid_ = 0;  // the mail that could not be fetched, so often in a row
  int failures_ = 0;
};

}  // namespace talaria::mail
