#include "channel/email/imap_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "channel/email/codec.h"
#include "channel/email/header.h"
#include "runtime/race.h"

namespace talaria::mail {
namespace {

constexpr std::size_t read_bytes = 16 * 1024;

std::string excerpt(std::string_view text) { return printable(truncate_utf8(text, 200)); }

// RFC 3501, 9: "21-Nov-2026"
std::string imap_date(UnixMillis t) {
  using namespace std::chrono;
  const year_month_day date(floor<days>(sys_seconds{seconds(t / 1000)}));
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  return fmt::format("{}-{}-{}", static_cast<unsigned>(date.day()),
                     months.substr((static_cast<unsigned>(date.month()) - 1) * 3, 3), static_cast<int>(date.year()));
}

// The number after "UIDNEXT " in a response code.
std::optional<std::uint32_t> code_number(std::string_view code, std::string_view name) {
  if (!same_word(code.substr(0, name.size()), name)) return std::nullopt;
  return parse_number(trim(code.substr(name.size())));
}

std::unexpected<Error> refused(std::string_view doing, const ImapResponse& answer) {
  return fail(ErrorKind::permission,
              fmt::format("{}: the IMAP server says {} {}{}", doing, answer.word,
                          answer.code.empty() ? "" : fmt::format("[{}] ", excerpt(answer.code)), excerpt(answer.text)));
}

// FETCH's list: "UID", 12, "BODY[]", "…".
std::optional<Fetched> fetched_in(ImapResponse& response) {
  if (response.word != "FETCH" || response.values.empty()) return std::nullopt;
  auto& items = response.values.front().items;
  Fetched found;
  bool body = false;
  for (std::size_t at = 0; at + 1 < items.size(); at += 2) {
    const std::string name = upper(items[at].text);
    ImapValue& value = items[at + 1];
    if (name == "UID") found.uid = parse_number(value.text).value_or(0);
    if (name == "RFC822.SIZE") found.size = parse_number(value.text).value_or(0);
    if (name == "INTERNALDATE") found.received_at = parse_date(value.text);
    if (name.starts_with("BODY[]")) {
      found.bytes = std::move(value.text);
      body = true;
    }
  }
  return body && found.uid != 0 ? std::optional(std::move(found)) : std::nullopt;
}

}  // namespace

ImapClient::ImapClient(std::unique_ptr<Stream> stream, Millis answer_time, std::function<void()> on_progress)
    : stream_(std::move(stream)),
      answer_time_(answer_time),
      on_progress_(std::move(on_progress)),
      reader_(max_mail + 1024 * 1024) {}

std::string ImapClient::next_tag() { return fmt::format("t{}", ++tags_); }

Task<Result<ImapResponse>> ImapClient::read(Deadline deadline) {
  for (;;) {
    auto response = reader_.next();
    if (!response) co_return std::unexpected(response.error());
    if (*response) {
      note(**response);
      co_return std::move(**response);
    }
    const auto count =
        co_await stream_->read_some(reader_.buffer(), read_bytes, deadline.earlier(Deadline::in(answer_time_)));
    if (!count) co_return std::unexpected(count.error());
    on_progress_();
  }
}

// What the server may say at any time.
void ImapClient::note(ImapResponse& response) {
  if (response.tag != "*") return;
  if (response.word == "EXISTS" || response.word == "RECENT") news_ = true;
  if (response.word == "CAPABILITY") {
    capabilities_.clear();
    for (const ImapValue& value : response.values) capabilities_.insert(upper(value.text));
  }
}

void ImapClient::note_capabilities(std::string_view code) {
  if (!same_word(code.substr(0, 11), "CAPABILITY ")) return;
  capabilities_.clear();
  for (std::string_view left = code.substr(11); !left.empty();) {
    const std::size_t end = std::min(left.find(' '), left.size());
    capabilities_.insert(upper(left.substr(0, end)));
    left.remove_prefix(std::min(end + 1, left.size()));
  }
}

Task<Result<ImapResponse>> ImapClient::finish(std::string tag, OnData on_data, Millis patience) {
  const Deadline deadline = Deadline::in(patience);
  for (;;) {
    auto response = co_await read(deadline);
    if (!response) co_return response;
    if (response->tag == tag) co_return response;
    if (response->tag == "*" && response->word == "BYE")
      co_return fail(ErrorKind::unavailable, fmt::format("the IMAP server says goodbye: {}", excerpt(response->text)));
    if (on_data) on_data(*response);
  }
}

Task<Result<ImapResponse>> ImapClient::command(std::string text, OnData on_data, Millis patience) {
  const std::string tag = next_tag();
  auto written = co_await stream_->write_all(fmt::format("{} {}\r\n", tag, text), Deadline::in(answer_time_));
  if (!written) co_return std::unexpected(written.error());
  co_return co_await finish(tag, std::move(on_data), patience);
}

Task<Result<>> ImapClient::learn_capabilities() {
  auto answer = co_await command("CAPABILITY");
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word != "OK") co_return refused("CAPABILITY", *answer);
  co_return Result<>{};
}

Task<Result<>> ImapClient::log_in(MailServer server) {
  auto greeting = co_await read(Deadline::in(answer_time_));
  if (!greeting) co_return std::unexpected(greeting.error());
  if (greeting->word == "PREAUTH" && server.encryption != Encryption::starttls) co_return Result<>{};
  if (greeting->word != "OK") co_return refused("greeting", *greeting);
  if (server.encryption == Encryption::starttls) {
    auto answer = co_await command("STARTTLS");
    if (!answer) co_return std::unexpected(answer.error());
    if (answer->word != "OK") co_return refused("STARTTLS", *answer);
    if (!reader_.empty()) co_return fail(ErrorKind::invalid, "the IMAP server sent something between STARTTLS and TLS");
    auto secure = co_await stream_->start_tls(server.host, server.ca_file, Deadline::in(answer_time_));
    if (!secure) co_return secure;
  } else {
    note_capabilities(greeting->code);
  }
  // What was said in the clear does not count any more (RFC 3501, 6.2.1).
  if (capabilities_.empty() || server.encryption == Encryption::starttls) {
    if (auto learned = co_await learn_capabilities(); !learned) co_return learned;
  }
  co_return co_await authenticate(std::move(server));
}

Task<Result<>> ImapClient::authenticate(MailServer server) {
  Result<ImapResponse> answer;
  if (has("AUTH=PLAIN")) {
    // RFC 4616: authorization id, NUL, login, NUL, password.
    std::string secret = encode_base64(fmt::format("{}{}{}{}", '\0', server.login, '\0', server.password));
    if (has("SASL-IR")) {
      answer = co_await command("AUTHENTICATE PLAIN " + secret);
    } else {
      const std::string tag = next_tag();
      auto sent = co_await stream_->write_all(tag + " AUTHENTICATE PLAIN\r\n", Deadline::in(answer_time_));
      if (!sent) co_return sent;
      answer = co_await read(Deadline::in(answer_time_));
      if (answer && answer->tag == "+") {
        sent = co_await stream_->write_all(secret + "\r\n", Deadline::in(answer_time_));
        if (!sent) co_return sent;
        answer = co_await finish(tag, {});
      }
    }
  } else if (!has("LOGINDISABLED")) {
    answer = co_await command(fmt::format("LOGIN {} {}", imap_quoted(server.login), imap_quoted(server.password)));
  } else {
    co_return fail(ErrorKind::permission, "the IMAP server offers no way to log in with a password here");
  }
  if (!answer) co_return std::unexpected(answer.error());
  // RFC 5530: that one passes.
  if (answer->word == "NO" && same_word(answer->code, "UNAVAILABLE"))
    co_return fail(ErrorKind::unavailable, fmt::format("log in: the IMAP server says {}", excerpt(answer->text)));
  if (answer->word != "OK") co_return refused("log in", *answer);
  capabilities_.clear();
  note_capabilities(answer->code);
  if (capabilities_.empty()) co_return co_await learn_capabilities();
  co_return Result<>{};
}

Task<Result<SelectedMailbox>> ImapClient::select(std::string mailbox) {
  SelectedMailbox found;
  auto answer = co_await command("SELECT " + imap_quoted(mailbox), [&](ImapResponse& response) {
    if (const auto validity = code_number(response.code, "UIDVALIDITY")) found.uid_validity = *validity;
    if (const auto next = code_number(response.code, "UIDNEXT")) found.uid_next = *next;
  });
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word != "OK") co_return refused(fmt::format("open the mailbox {}", excerpt(mailbox)), *answer);
  if (found.uid_validity == 0)
    co_return fail(ErrorKind::invalid, "the IMAP server gives no UIDVALIDITY: its mails can't be told apart");
  news_ = false;
  co_return found;
}

Task<Result<std::vector<std::uint32_t>>> ImapClient::search(std::uint32_t first, std::uint32_t last, UnixMillis since) {
  std::vector<std::uint32_t> uids;
  std::string text = fmt::format("UID SEARCH UID {}:{}", first, last == 0 ? "*" : fmt::format("{}", last));
  if (since > 0) text += fmt::format(" SINCE {}", imap_date(since));
  auto answer = co_await command(std::move(text), [&](ImapResponse& response) {
    if (response.word != "SEARCH") return;
    for (const ImapValue& value : response.values) {
      // "5:*" is the last mail where there is none from 5 on (RFC 3501, 9).
      if (const auto uid = parse_number(value.text); uid && *uid >= first && (last == 0 || *uid <= last))
        uids.push_back(*uid);
    }
  });
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word != "OK") co_return refused("look for mail", *answer);
  std::ranges::sort(uids);
  uids.erase(std::ranges::unique(uids).begin(), uids.end());
  co_return uids;
}

Task<Result<std::optional<Fetched>>> ImapClient::fetch(std::uint32_t uid) {
  std::optional<Fetched> found;
  auto answer =
      co_await command(fmt::format("UID FETCH {} (UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.{}>)", uid, max_mail),
                       [&](ImapResponse& response) {
                         if (auto mail = fetched_in(response); mail && mail->uid == uid) found = std::move(mail);
                       });
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word == "BAD")
    co_return fail(ErrorKind::invalid,
                   fmt::format("fetch the mail {}: the IMAP server says BAD {}", uid, excerpt(answer->text)));
  if (answer->word != "OK") co_return refused(fmt::format("fetch the mail {}", uid), *answer);
  co_return found;
}

Task<Result<>> ImapClient::mark_seen(std::uint32_t uid) {
  auto answer = co_await command(fmt::format("UID STORE {} +FLAGS.SILENT (\\Seen)", uid));
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word != "OK") co_return refused("mark a mail as seen", *answer);
  co_return Result<>{};
}

Task<Result<bool>> ImapClient::ask(Millis patience) {
  auto answer = co_await command("NOOP", {}, patience);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word != "OK") co_return refused("ask for news", *answer);
  co_return take_news();
}

// Bytes of the server, or none: `wake` was pulsed. Cancelling a read loses nothing (net/transport.h).
Task<std::optional<Result<std::size_t>>> ImapClient::read_or_wake(Deadline deadline, Event& wake) {
  std::optional<Result<std::size_t>> count;
  co_await race(
      [](Stream& stream, std::string& buffer, Deadline until, auto& into) -> Task<> {
        into.emplace(co_await stream.read_some(buffer, read_bytes, until));
      }(*stream_, reader_.buffer(), deadline, count),
      [](Event& event) -> Task<> { co_await event.wait(); }(wake));
  co_return count;
}

Task<Result<bool>> ImapClient::idle(Deadline until, Event& wake, Millis patience) {
  const std::string tag = next_tag();
  auto written = co_await stream_->write_all(tag + " IDLE\r\n", Deadline::in(answer_time_));
  if (!written) co_return std::unexpected(written.error());
  bool accepted = false;
  while (!accepted || (!news_ && !until.expired())) {
    // Not through read(): here silence is no failure.
    auto response = reader_.next();
    if (!response) co_return std::unexpected(response.error());
    if (*response) {
      note(**response);
      if ((*response)->tag == "+") accepted = true;
      if ((*response)->tag == tag) co_return refused("wait for mail", **response);
      if ((*response)->word == "BYE")
        co_return fail(ErrorKind::unavailable,
                       fmt::format("the IMAP server says goodbye: {}", excerpt((*response)->text)));
      continue;
    }
    const auto count = co_await read_or_wake(accepted ? until : Deadline::in(answer_time_), wake);
    if (!count && accepted) break;
    if (!count) continue;
    if (!*count && accepted && count->error().kind == ErrorKind::timeout) break;
    if (!*count) co_return std::unexpected(count->error());
    on_progress_();
  }
  written = co_await stream_->write_all("DONE\r\n", Deadline::in(answer_time_));
  if (!written) co_return std::unexpected(written.error());
  auto answer = co_await finish(tag, {}, patience);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->word != "OK") co_return refused("wait for mail", *answer);
  co_return take_news();
}

}  // namespace talaria::mail
