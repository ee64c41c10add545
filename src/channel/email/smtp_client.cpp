#include "channel/email/smtp_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/email/codec.h"
#include "channel/email/composer.h"
#include "channel/email/smtp_reply.h"

namespace talaria::mail {
namespace {

using Fate = DeliveryError::Fate;
using Outcome = std::expected<void, DeliveryError>;

std::unexpected<DeliveryError> failed(Fate fate, std::string what, Millis retry_after = Millis(0)) {
  return std::unexpected(DeliveryError{fate, std::move(what), retry_after});
}

std::unexpected<DeliveryError> lost(const Error& error) {
  return failed(Fate::retry, fmt::format("SMTP server: {}", error.what));
}

std::string shown(const SmtpReply& reply) {
  std::string text;
  for (const std::string& line : reply.lines) text += " " + line;
  return fmt::format("{}{}", reply.code, printable(truncate_utf8(text, 300)));
}

// What was configured wrongly is for the operator to mend; the mail waits for that. RFC 4954: 530, 534, 535, 538 are
// about the login.
std::unexpected<DeliveryError> refused(std::string_view doing, const SmtpReply& reply, bool about_mail) {
  const bool login = reply.code == 530 || reply.code == 534 || reply.code == 535 || reply.code == 538;
  const bool dead = about_mail && !reply.transient() && !login && reply.code >= 500;
  return failed(dead ? Fate::dead : Fate::retry, fmt::format("{}: the SMTP server says {}", doing, shown(reply)),
                Millis(dead || reply.transient() ? 0 : 30'000));
}

class Session {
 public:
  Session(std::unique_ptr<Stream> stream, const MailServer& server, SmtpTimes times)
      : stream_(std::move(stream)), server_(server), times_(times) {}

  Task<Outcome> open() {
    auto greeting = co_await read(times_.answer);
    if (!greeting) co_return lost(greeting.error());
    if (!greeting->good()) co_return refused("greeting", *greeting, false);
    if (auto hello = co_await say_hello(); !hello) co_return hello;
    if (server_.encryption == Encryption::starttls) {
      auto answer = co_await ask("STARTTLS");
      if (!answer) co_return lost(answer.error());
      if (!answer->good()) co_return refused("STARTTLS", *answer, false);
      if (!input_.empty()) co_return failed(Fate::retry, "the SMTP server sent something between STARTTLS and TLS");
      auto secure = co_await stream_->start_tls(server_.host, server_.ca_file, Deadline::in(times_.connect));
      if (!secure) co_return lost(secure.error());
      if (auto hello = co_await say_hello(); !hello) co_return hello;
    }
    co_return co_await log_in();
  }

  Task<Outcome> send(Envelope envelope, std::string content) {
    const bool ascii = is_ascii(envelope.from) && is_ascii(envelope.to) && is_ascii(content);
    if (!ascii && !offers("SMTPUTF8"))
      co_return failed(Fate::dead, "the SMTP server takes no addresses beyond ASCII (SMTPUTF8)");
    const char* parameters = ascii ? "" : offers("8BITMIME") ? " BODY=8BITMIME SMTPUTF8" : " SMTPUTF8";
    auto answer = co_await ask(fmt::format("MAIL FROM:<{}>{}", envelope.from, parameters));
    if (!answer) co_return lost(answer.error());
    if (!answer->good()) co_return refused("MAIL FROM", *answer, true);
    answer = co_await ask(fmt::format("RCPT TO:<{}>", envelope.to));
    if (!answer) co_return lost(answer.error());
    if (!answer->good()) co_return refused("RCPT TO", *answer, true);
    answer = co_await ask("DATA");
    if (!answer) co_return lost(answer.error());
    if (answer->code != 354) co_return refused("DATA", *answer, true);
    // A server that reads slowly gets the time that its size needs, at 8 KiB a second.
    const auto size_time = std::chrono::seconds(content.size() / 8192);
    auto written = co_await stream_->write_all(content, Deadline::in(times_.answer + size_time));
    if (!written) co_return lost(written.error());
    // From here on the server may have it.
    written = co_await stream_->write_all(".\r\n", Deadline::in(times_.answer));
    auto verdict = written ? co_await read(times_.final_answer) : std::unexpected(written.error());
    if (!verdict)
      co_return failed(Fate::unknown,
                       fmt::format("the connection ended before the SMTP server said that it has the mail: {}",
                                   verdict.error().what));
    if (!verdict->good()) co_return refused("the mail's content", *verdict, true);
    co_return Outcome{};
  }

  // Its answer is of no interest; a server that gets none may count it as an error of ours.
  Task<> quit() {
    (void)co_await stream_->write_all("QUIT\r\n", Deadline::in(std::chrono::seconds(5)));
    stream_->close();
  }

 private:
  Task<Result<SmtpReply>> read(Millis time) {
    const Deadline deadline = Deadline::in(time);
    for (;;) {
      auto reply = take_smtp_reply(input_);
      if (!reply) co_return std::unexpected(reply.error());
      if (*reply) co_return std::move(**reply);
      const auto count = co_await stream_->read_some(input_, 4096, deadline);
      if (!count) co_return std::unexpected(count.error());
    }
  }

  Task<Result<SmtpReply>> ask(std::string line) {
    auto written = co_await stream_->write_all(line + "\r\n", Deadline::in(times_.answer));
    if (!written) co_return std::unexpected(written.error());
    co_return co_await read(times_.answer);
  }

  Task<Outcome> say_hello() {
    // Our host's name is nobody's business; an address literal is allowed (RFC 5321, 4.1.3).
    auto answer = co_await ask("EHLO [127.0.0.1]");
    if (!answer) co_return lost(answer.error());
    if (!answer->good()) co_return refused("EHLO", *answer, false);
    extensions_ = std::move(answer->lines);
    co_return Outcome{};
  }

  [[nodiscard]] bool offers(std::string_view extension) const {
    return std::ranges::any_of(extensions_, [&](const std::string& line) {
      return same_word(std::string_view(line).substr(0, line.find(' ')), extension);
    });
  }
  [[nodiscard]] bool offers_login(std::string_view mechanism) const {
    return std::ranges::any_of(extensions_, [&](const std::string& line) {
      const std::string padded = lower(line) + " ";
      return padded.starts_with("auth ") && padded.find(" " + lower(mechanism) + " ") != padded.npos;
    });
  }

  Task<Outcome> log_in() {
    Result<SmtpReply> answer;
    if (offers_login("PLAIN")) {
      answer = co_await ask("AUTH PLAIN " +
                            encode_base64(fmt::format("{}{}{}{}", '\0', server_.login, '\0', server_.password)));
    } else if (offers_login("LOGIN")) {
      answer = co_await ask("AUTH LOGIN");
      if (answer && answer->code == 334) answer = co_await ask(encode_base64(server_.login));
      if (answer && answer->code == 334) answer = co_await ask(encode_base64(server_.password));
    } else {
      co_return Outcome{};  // a relay that knows us by our address; if it does not, it will say so
    }
    if (!answer) co_return lost(answer.error());
    if (!answer->good()) co_return refused("log in", *answer, false);
    co_return Outcome{};
  }

  std::unique_ptr<Stream> stream_;
  const MailServer& server_;
  SmtpTimes times_;
  std::string input_;
  std::vector<std::string> extensions_;
};

}  // namespace

std::string stuffed(std::string_view content) {
  std::string out;
  out.reserve(content.size() + content.size() / 50 + 2);
  bool line_start = true;
  for (const char c : content) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
  if (!out.ends_with("\r\n")) out += "\r\n";
  return out;
}

Task<Outcome> send_mail(Dialer dial, MailServer server, Envelope envelope, std::string content, SmtpTimes times) {
  auto stream = co_await connect(dial, server, Deadline::in(times.connect));
  if (!stream) co_return failed(Fate::retry, stream.error().what);
  Session session(std::move(*stream), server, times);
  if (auto opened = co_await session.open(); !opened) co_return opened;
  auto outcome = co_await session.send(std::move(envelope), stuffed(content));
  if (outcome) co_await session.quit();
  co_return outcome;
}

}  // namespace talaria::mail
