#include "channel/email/email_channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <filesystem>
#include <fstream>

#include "channel/email/codec.h"
#include "channel/email/composer.h"
#include "runtime/race.h"

namespace talaria {

std::unique_ptr<Channel> make_email_channel(const ChannelConfig& config, std::string password,
                                            asio::any_io_executor executor, const WallClock& clock) {
  return std::make_unique<mail::EmailChannel>(config, std::move(password), std::move(executor), clock, dial);
}

namespace mail {
namespace {

using Fate = DeliveryError::Fate;

constexpr int most_sending = 4;                             // connections to the SMTP server at a time
constexpr std::int64_t most_file_bytes = 24 * 1024 * 1024;  // of all files of one mail; servers take 25 MiB and more

std::unexpected<DeliveryError> undelivered(Fate fate, std::string what) {
  return std::unexpected(DeliveryError{fate, std::move(what), Millis(0)});
}

Files read_all(const std::vector<Attachment>& attachments) {
  Files files;
  std::int64_t total = 0;
  for (const Attachment& attachment : attachments) {
    std::ifstream file(attachment.path, std::ios::binary);
    std::error_code error;
    const auto size = static_cast<std::int64_t>(std::filesystem::file_size(attachment.path, error));
    if (!file || error || size > max_attachment || total + size > most_file_bytes) {
      files.note += fmt::format("\n\n(The file {} could not be sent with this.)", attachment.name);
      continue;
    }
    total += size;
    std::string bytes(static_cast<std::size_t>(size), '\0');
    file.read(bytes.data(), size);
    bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    files.found.push_back({attachment.name, attachment.type, std::move(bytes)});
  }
  return files;
}

}  // namespace

EmailChannel::EmailChannel(const ChannelConfig& config, std::string password, asio::any_io_executor executor,
                           const WallClock& clock, Dialer dialer, EmailTimes times)
    : config_(config),
      password_(std::move(password)),
      executor_(executor),
      clock_(clock),
      dial_(std::move(dialer)),
      times_(times),
      changed_(executor),
      network_(executor),
      sent_(executor) {
  // A deaf connection must be found out and replaced within twice the period: late by half of it, then a short delay.
  const Millis poll = config_.email.poll;
  times_.imap_answer = std::min(times_.imap_answer, poll);
  times_.alive = std::min(times_.imap_answer, poll / 2);
  times_.reconnect_first = std::min(times_.reconnect_first, std::max(poll / 6, Millis(150)));
}

std::string EmailChannel::account() const {
  return fmt::format("{} {}", lower(config_.email.address), config_.email.mailbox);
}

MailServer EmailChannel::server_of(const ServerAddress& address, std::string_view encryption) const {
  return {.host = address.host,
          .port = address.port,
          .encryption = encryption_of(encryption),
          .ca_file = config_.ca_file,
          .login = config_.email.login,
          .password = password_};
}

void EmailChannel::enter(ChannelState state, std::string error) {
  error_ = std::move(error);
  if (state == ChannelState::up) up_since_ = SteadyClock::now();
  if (std::exchange(state_, state) != state) changed_.pulse();
}

// --- Reading
// -------------------------------------------------------------------------------------------------------------------

Task<> EmailChannel::run(Inbox& inbox) {
  struct Ended {
    EmailChannel& channel;
    ~Ended() {
      channel.ended_ = true;
      channel.enter(ChannelState::down, "stopping");
      channel.sent_.pulse();
    }
  } ended{*this};
  const EmailConfig& email = config_.email;
  MailboxReader reader({.rules = {.channel = config_.name,
                                  .own_address = lower(email.address),
                                  .sender = {.verify = email.verify != "none",
                                             .trusted_authserv = email.trusted_authserv,
                                             .allow = config_.allow,
                                             .admins = config_.admins}},
                        .mailbox = email.mailbox,
                        .backlog = email.backlog,
                        .answers_per_hour = email.answers_per_hour,
                        .hold_first = times_.hold_first,
                        .hold_longest = times_.hold_longest,
                        .refusal = times_.refusal},
                       inbox, clock_);
  Backoff delay(times_.reconnect_first, times_.reconnect_longest);
  Backoff lasting(times_.lasting_first, times_.lasting_longest);
  for (;;) {
    up_since_.reset();
    const Error end = co_await stay_until_broken(reader);
    enter(ChannelState::down, fmt::format("{}:{}: {}", email.imap.host, email.imap.port, end.what));
    if (up_since_) lasting.reset();
    if (up_since_ && SteadyClock::now() - *up_since_ >= times_.stable) delay.reset();
    const bool for_long = end.kind == ErrorKind::permission && !up_since_;
    if (co_await network_.wait(Deadline::in(for_long ? lasting.next() : delay.next()))) delay.reset();
  }
}

// A name look-up or a SYN into a network that was away may hang on after it is back, so the call is made anew then.
Task<Result<std::unique_ptr<Stream>>> EmailChannel::dial_imap() {
  const Deadline deadline = Deadline::in(times_.connect);
  for (;;) {
    std::optional<Result<std::unique_ptr<Stream>>> stream;
    co_await race(
        [](EmailChannel& self, Deadline until, auto& into) -> Task<> {
          const MailServer server = self.server_of(self.config_.email.imap, self.config_.email.imap_tls);
          into.emplace(co_await connect(self.dial_, server, until));
        }(*this, deadline, stream),
        [](Event& network) -> Task<> { co_await network.wait(); }(network_));
    if (stream) co_return std::move(*stream);
  }
}

Task<Error> EmailChannel::stay_until_broken(MailboxReader& reader) {
  auto stream = co_await dial_imap();
  if (!stream) co_return stream.error();
  ImapClient client(std::move(*stream), times_.imap_answer, [this] { last_progress_ = clock_.now(); });
  if (auto in = co_await client.log_in(server_of(config_.email.imap, config_.email.imap_tls)); !in)
    co_return in.error();
  if (auto opened = co_await reader.open(client); !opened) co_return opened.error();
  enter(ChannelState::up, {});
  for (;;) {
    if (auto done = co_await reader.read_new(client); !done) co_return done.error();
    if (auto news = co_await wait_for_mail(client); !news) co_return news.error();
  }
}

Task<Result<>> EmailChannel::wait_for_mail(ImapClient& client) {
  const Millis poll = config_.email.poll;
  while (!client.take_news()) {
    Result<bool> news = false;
    if (client.has("IDLE")) {
      news = co_await client.idle(Deadline::in(poll), network_, times_.alive);
    } else {
      co_await network_.wait(Deadline::in(poll));
      news = co_await client.ask(times_.alive);
    }
    if (!news) co_return std::unexpected(news.error());
    if (*news) break;
  }
  co_return Result<>{};
}

// --- Sending
// -------------------------------------------------------------------------------------------------------------------

Task<> EmailChannel::take_sending_slot() {
  while (sending_ >= most_sending && !ended_) co_await sent_.wait();
  ++sending_;
}

Task<Files> EmailChannel::read_files(std::vector<Attachment> attachments) {
  if (attachments.empty()) co_return Files{};
  co_return co_await asio::co_spawn(
      files_.get_executor(),
      [](std::vector<Attachment> all) -> Task<Files> { co_return read_all(all); }(std::move(attachments)),
      asio::use_awaitable);
}

Task<std::expected<Receipt, DeliveryError>> EmailChannel::deliver(Reply reply) {
  const EmailConfig& email = config_.email;
  const std::string& to = reply.route.conversation;
  if (!is_address(to)) co_return undelivered(Fate::dead, "this is no mail address to write to");
  if (lower(to) == lower(email.address)) co_return undelivered(Fate::dead, "this is our own address");
  co_await take_sending_slot();
  struct Slot {
    EmailChannel& channel;
    ~Slot() {
      --channel.sending_;
      channel.sent_.pulse();
    }
  } slot{*this};
  if (ended_) co_return undelivered(Fate::retry, "the channel is ending");
  // The same row must have the same name when it is sent again, so a note about files is no part of it.
  const Files files = co_await read_files(reply.attachments);
  Composed mail = compose(reply, {.address = email.address, .name = email.name, .channel = config_.name}, files.found,
                          files.note, clock_.now());
  auto sent = co_await send_mail(dial_, server_of(email.smtp, email.smtp_tls), {.from = email.address, .to = to},
                                 std::move(mail.bytes), times_.smtp);
  if (!sent) co_return std::unexpected(std::move(sent.error()));
  co_return Receipt{mail.message_id};
}

}  // namespace mail
}  // namespace talaria
