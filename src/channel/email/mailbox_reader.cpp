#include "channel/email/mailbox_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/email/header.h"
#include "runtime/backoff.h"

namespace talaria::mail {
namespace {

constexpr std::uint32_t window = 50'000;  // UIDs that are asked for at once: bounds the answer
constexpr int most_failures = 5;          // to fetch one mail
constexpr Millis longest_gap{600'000};    // between two tries: what lies beyond says nothing about the server
constexpr UnixMillis one_day = 24 * 3'600'000LL;

bool not_now(const Error& error) { return error.kind != ErrorKind::invalid && error.kind != ErrorKind::limit; }

}  // namespace

Task<Result<>> MailboxReader::open(ImapClient& client) {
  auto mailbox = co_await client.select(settings_.mailbox);
  if (!mailbox) co_return std::unexpected(mailbox.error());
  auto text = co_await inbox_.cursor(settings_.rules.channel,
                                     fmt::format("imap {} {}", settings_.rules.own_address, settings_.mailbox));
  if (!text) co_return std::unexpected(text.error());
  known_end_ = mailbox->uid_next;
  if (text->empty()) co_return co_await first_start(client, *mailbox);
  const auto cursor = parse_cursor(*text);
  if (!cursor)
    inbox_.passed_over(settings_.rules.channel, "the cursor is unreadable; the mailbox is read from its start");
  cursor_ = cursor.value_or(MailCursor{});
  if (cursor_.uid_validity != mailbox->uid_validity) {
    renumbered_ = true;
    failed_uid_ = 0;
    refusals_ = {};
    cursor_.uid_validity = mailbox->uid_validity;
    cursor_.uid = 0;
  }
  co_return Result<>{};
}

Task<Result<>> MailboxReader::first_start(ImapClient& client, SelectedMailbox mailbox) {
  cursor_ = {.uid_validity = mailbox.uid_validity, .uid = 0, .since = settings_.backlog ? 0 : clock_.now()};
  if (!settings_.backlog) {
    if (mailbox.uid_next == 0) {
      auto last = co_await client.search(1, 0, 0);
      if (!last) co_return std::unexpected(last.error());
      mailbox.uid_next = last->empty() ? 1 : last->back() + 1;
    }
    cursor_.uid = mailbox.uid_next - 1;
  }
  unsaved_ = true;
  co_await save_cursor();
  co_return Result<>{};
}

Task<Result<>> MailboxReader::read_new(ImapClient& client) {
  for (;;) {
    const std::uint32_t first = cursor_.uid + 1;
    std::uint32_t last = 0;
    if (known_end_ > first) last = first + std::min(known_end_ - 1 - first, window - 1);
    auto uids =
        co_await client.search(first, last, renumbered_ && cursor_.since > one_day ? cursor_.since - one_day : 0);
    if (!uids) co_return std::unexpected(uids.error());
    int since_saved = 0;
    for (std::size_t at = 0; at < uids->size(); ++at) {
      const std::uint32_t uid = (*uids)[at];
      auto fetched = co_await client.fetch(uid);
      if (!fetched && fetched.error().kind == ErrorKind::permission) {
        const std::uint32_t behind = at + 1 < uids->size() ? (*uids)[at + 1] : 0;
        fetched = co_await after_refusal(client, uid, behind, std::move(fetched.error()));
      }
      if (!fetched) {
        co_await note_failure(uid, fetched.error());
        co_return std::unexpected(fetched.error());
      }
      if (*fetched) {
        if (auto done = co_await take(client, std::move(**fetched)); !done) co_return done;
      }
      cursor_.uid = uid;
      unsaved_ = true;
      if (++since_saved % 20 == 0) co_await save_cursor();
    }
    if (last != 0 && last > cursor_.uid) {
      cursor_.uid = last;
      unsaved_ = true;
    }
    co_await save_cursor();
    if (last == 0 || last + 1 >= known_end_) {
      // What comes from now on has a number of this UIDVALIDITY's.
      if (last != 0 && last + 1 >= known_end_) {
        known_end_ = 0;
        if (client.take_news()) continue;
      }
      renumbered_ = false;
      co_return Result<>{};
    }
  }
}

// The server says NO, which may be a trouble of its own that passes (RFC 5530: SERVERBUG, UNAVAILABLE, INUSE). The
// mail, if it gives it after all; none: the mail is left behind; an error: it is to be asked again, in another session.
// `behind`: a mail that waits for this one; 0: none does.
Task<Result<std::optional<Fetched>>> MailboxReader::after_refusal(ImapClient& client, std::uint32_t uid,
                                                                  std::uint32_t behind, Error error) {
  const auto now = SteadyClock::now();
  if (refusals_.uid != uid) refusals_ = {.uid = uid, .latest = now};
  ++refusals_.times;
  refusals_.lasted += std::min<SteadyClock::duration>(now - std::exchange(refusals_.latest, now), longest_gap);
  bool hopeless = refusals_.lasted >= settings_.refusal.longest;
  if (!hopeless && behind != 0 && refusals_.times >= most_failures && refusals_.lasted >= settings_.refusal.alone) {
    const auto another = co_await client.fetch(behind);
    if (another && *another) {
      auto again = co_await client.fetch(uid);
      if (again || again.error().kind != ErrorKind::permission) co_return again;
      hopeless = true;
    }
  }
  if (!hopeless) co_return std::unexpected(std::move(error));
  co_await leave_behind(uid, std::move(error.what));
  co_return std::nullopt;
}

// A mail that comes in no form that can be read must not hold up those behind it for ever.
Task<> MailboxReader::note_failure(std::uint32_t uid, Error error) {
  if (not_now(error)) co_return;
  failures_ = std::exchange(failed_uid_, uid) == uid ? failures_ + 1 : 1;
  if (failures_ < most_failures) co_return;
  co_await leave_behind(uid, std::move(error.what));
  cursor_.uid = uid;
  unsaved_ = true;
  co_await save_cursor();
}

Task<> MailboxReader::leave_behind(std::uint32_t uid, std::string why) {
  InboundEvent event;
  event.route = {.channel = settings_.rules.channel, .conversation = settings_.mailbox, .thread = {}, .reply_to = {}};
  event.message_id = fmt::format("uid {}/{}", cursor_.uid_validity, uid);
  event.received_at = clock_.now();
  Backoff backoff(settings_.hold_first, settings_.hold_longest);
  for (;;) {
    const auto done = co_await inbox_.skip(event, why);
    if (done) co_return;
    if (!not_now(done.error())) {
      inbox_.warn(settings_.rules.channel, fmt::format("mail {} is left behind: {}", event.message_id, why));
      co_return;
    }
    co_await sleep_for(backoff.next());
  }
}

// After a renumbering: mail that was there before our first start. A server that lost its numbers may have lost its
// dates, too, so the mail's own has a say.
bool MailboxReader::is_from_before(const Fetched& fetched) const {
  if (!renumbered_ || cursor_.since == 0) return false;
  if (fetched.received_at < cursor_.since / 1000 * 1000) return true;
  std::string_view bytes = fetched.bytes;
  const UnixMillis written = parse_date(Header::take(bytes).get("Date"));
  return written != 0 && written < cursor_.since - one_day;
}

Task<Result<>> MailboxReader::take(ImapClient& client, Fetched fetched) {
  if (is_from_before(fetched)) {
    inbox_.passed_over(settings_.rules.channel,
                       fmt::format("mail {} is not answered: its server has numbered the mailbox anew, and it is older "
                                   "than our first start",
                                   fetched.uid));
    co_return Result<>{};
  }
  if (fetched.received_at == 0) fetched.received_at = clock_.now();
  const std::uint32_t uid = fetched.uid;
  auto read = read_mail(fetched, settings_.rules);
  fetched.bytes.clear();
  if (const auto* skipped = std::get_if<Skipped>(&read)) {
    inbox_.passed_over(settings_.rules.channel,
                       fmt::format("mail {} {} is not answered: {}", uid,
                                   printable(truncate_utf8(skipped->message_id, 200)), skipped->why));
    co_return Result<>{};
  }
  if (co_await bring(std::move(std::get<Incoming>(read)))) co_return co_await mark_seen(client, uid);
  co_return Result<>{};
}

// A mailbox may be read-only for us. The cursor knows what was read, the flag is for people.
Task<Result<>> MailboxReader::mark_seen(ImapClient& client, std::uint32_t uid) {
  auto marked = co_await client.mark_seen(uid);
  if (marked || marked.error().kind != ErrorKind::permission) co_return marked;
  if (!std::exchange(told_unmarked_, true)) {
    inbox_.warn(settings_.rules.channel,
                fmt::format("{}; mails are answered all the same and stay unread", marked.error().what));
  }
  co_return Result<>{};
}

// True: the journal has it.
Task<bool> MailboxReader::bring(Incoming in) {
  const std::string sender = in.event.sender.id;
  const std::string what = printable(truncate_utf8(in.event.message_id, 200));
  if (!in.files.empty()) {
    // Files would be kept anew, for nobody. If the journal does not answer, it is asked by what follows.
    const auto known = co_await inbox_.knows(in.event.route, in.event.message_id);
    if (known && *known) co_return true;
  }
  if (!quota_.take(sender, SteadyClock::now())) {
    inbox_.passed_over(settings_.rules.channel,
                       fmt::format("mail {} is not answered: more than {} mails of {} within an hour", what,
                                   settings_.answers_per_hour, sender));
    co_return false;
  }
  co_await keep_files(in);
  Backoff backoff(settings_.hold_first, settings_.hold_longest);
  for (;;) {
    auto accepted = co_await inbox_.accept(in.event);
    if (accepted) {
      if (accepted->duplicate) quota_.give_back(sender);
      co_return true;
    }
    if (!not_now(accepted.error())) {
      inbox_.passed_over(settings_.rules.channel,
                         fmt::format("mail {} is not answered: {}", what, accepted.error().what));
      co_return false;
    }
    co_await sleep_for(backoff.next());
  }
}

Task<> MailboxReader::keep_files(Incoming& in) {
  for (File& file : in.files) {
    Backoff backoff(settings_.hold_first, settings_.hold_longest);
    for (;;) {
      auto kept = co_await inbox_.keep(file.name, file.type, file.bytes);
      if (kept) {
        in.event.attachments.push_back(std::move(*kept));
        break;
      }
      if (!not_now(kept.error())) {
        in.event.text +=
            fmt::format("\n\n(The attached file {} was left out: {}.)", printable(truncate_utf8(file.name, 100)),
                        kept.error().kind == ErrorKind::limit ? "it is too large" : "it can't be kept");
        break;
      }
      co_await sleep_for(backoff.next());
    }
    file.bytes = {};
  }
}

Task<> MailboxReader::save_cursor() {
  if (!unsaved_) co_return;
  Backoff backoff(settings_.hold_first, settings_.hold_longest);
  const std::string name = fmt::format("imap {} {}", settings_.rules.own_address, settings_.mailbox);
  while (!co_await inbox_.set_cursor(settings_.rules.channel, name, to_text(cursor_)))
    co_await sleep_for(backoff.next());
  unsaved_ = false;
}

}  // namespace talaria::mail
