#pragma once
// Takes mails from the mailbox to the journal, in the order of their UIDs. The order of steps is the promise: the
// journal has the mail, then it is marked as seen (where the server lets us), then the cursor moves. Whatever is cut
// off in between is done again, and the journal recognises the mail. The cursor moves past a mail that can't be had
// only when the journal says that it was skipped.

#include <optional>
#include <string>

#include "channel/channel.h"
#include "channel/email/cursor.h"
#include "channel/email/imap_client.h"
#include "channel/email/incoming.h"
#include "channel/email/loop_guard.h"

namespace talaria::mail {

// A server that does not give one mail (FETCH is answered NO) may be in trouble for a while. The mail is left behind
// when it alone is refused while the one behind it is given, after this time, or when it was refused that long. Time
// counts in which the server is there.
struct RefusalTimes {
  Millis alone{600'000};
  Millis longest{6 * 3'600'000};
};

struct ReaderSettings {
  IncomingRules rules;
  std::string mailbox;
  bool backlog = false;
  int answers_per_hour = 30;
  Millis hold_first{100};
  Millis hold_longest{30'000};
  RefusalTimes refusal = {};
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
  Task<Result<>> mark_seen(ImapClient& client, std::uint32_t uid);
  Task<Result<std::optional<Fetched>>> after_refusal(ImapClient& client, std::uint32_t uid, std::uint32_t behind,
                                                     Error error);
  Task<> note_failure(std::uint32_t uid, Error error);
  Task<> leave_behind(std::uint32_t uid, std::string why);
  [[nodiscard]] bool is_from_before(const Fetched& fetched) const;

  ReaderSettings settings_;
  Inbox& inbox_;
  const WallClock& clock_;
  AnswerQuota quota_;
  MailCursor cursor_;
  std::uint32_t known_end_ = 0;  // UIDNEXT when the mailbox was opened; 0: unknown, or all below was read
  bool renumbered_ = false;      // UIDs are not those of before: dates tell what is ours
  bool unsaved_ = false;
  std::uint32_t failed_uid_ = 0;  // the mail that could not be read, so often in a row
  int failures_ = 0;
  struct Refusals {
    std::uint32_t uid = 0;  // of the mail that the server does not give, so often in a row
    int times = 0;
    SteadyClock::time_point latest;
    SteadyClock::duration lasted{};
  } refusals_;
  bool told_unmarked_ = false;  // the operator knows that mails can't be marked as seen
};

}  // namespace talaria::mail
