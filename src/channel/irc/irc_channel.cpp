#include "channel/irc/irc_channel.h"

#include <fmt/format.h>

#include <algorithm>

#include "channel/irc/line_split.h"
#include "runtime/race.h"

namespace talaria {

std::unique_ptr<Channel> make_irc_channel(const ChannelConfig& config, IrcSecrets secrets,
                                          asio::any_io_executor executor, const WallClock& clock) {
  return std::make_unique<irc::IrcChannel>(config, std::move(secrets), std::move(executor), clock, dial);
}

namespace irc {

namespace {

// A nick or channel that can be written to. A comma would address several, a dollar sign everybody on a server.
bool is_target(std::string_view target) {
  return !target.empty() && target.size() <= 200 && target.front() != ':' && target.front() != '$' &&
         std::ranges::all_of(target,
                             [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != ',' && c != 0x7f; });
}

// The asker's nick out of the id of a message in a channel, "asker!id" (see irc.h); empty: nobody asked.
std::string_view asker_of(std::string_view reply_to) {
  const auto bang = reply_to.find('!');
  return bang == reply_to.npos ? std::string_view() : reply_to.substr(0, bang);
}

std::unexpected<DeliveryError> undelivered(DeliveryError::Fate fate, std::string what) {
  return std::unexpected(DeliveryError{fate, std::move(what), Millis(0)});
}

}  // namespace

IrcChannel::IrcChannel(const ChannelConfig& config, IrcSecrets secrets, asio::any_io_executor executor,
                       const WallClock& clock, Dialer dialer, IrcTimes times)
    : config_(config),
      secrets_(std::move(secrets)),
      executor_(executor),
      clock_(clock),
      dial_(std::move(dialer)),
      times_(times),
      hold_(executor),
      outgoing_(executor, config.irc.lines_per_second, config.irc.burst),
      work_(executor),
      sendable_(executor),
      changed_(executor),
      network_(executor),
      random_(std::random_device{}()),
      epoch_(random_()) {}

ChannelHealth IrcChannel::health() const { return {state_, last_progress_, error_}; }

std::string IrcChannel::next_id() { return fmt::format("{:x}-{:016x}-{}", clock_.now(), epoch_, ++ids_); }

Millis IrcChannel::jittered(Millis delay) {
  // Half to all of it: many gateways that lost the same server don't come back at the same time.
  return Millis(std::uniform_int_distribution<Millis::rep>(delay.count() / 2, delay.count())(random_));
}

SessionSettings IrcChannel::session_settings() {
  const auto& irc = config_.irc;
  return {.channel = config_.name,
          .login = {.nick = irc.nick,
                    .user = irc.user,
                    .realname = irc.realname,
                    .server_password = secrets_.server_password,
                    .sasl_account = irc.sasl_account,
                    .sasl_password = secrets_.sasl_password},
          .join = irc.join,
          .allow = AllowList(config_.allow),
          .admins = AllowList(config_.admins),
          .times = times_.session,
          .on_passed_over = [this](std::string_view what) { inbox_->passed_over(config_.name, what); }};
}

// Who logs in has one account under whatever nick; else the nick is all there is. The port belongs to it: two servers
// of one machine are two networks, and a bouncer listens for each.
std::string IrcChannel::account() const {
  const auto& irc = config_.irc;
  const bool logs_in = !irc.sasl_account.empty();
  return fmt::format("{}:{} {} {}", fold(irc.host, CaseMapping::ascii), irc.port, logs_in ? "account" : "nick",
                     fold(logs_in ? irc.sasl_account : irc.nick, CaseMapping::ascii));
}

Task<> IrcChannel::run(Inbox& inbox) {
  inbox_ = &inbox;
  struct Ended {
    IrcChannel& channel;
    ~Ended() {
      channel.ended_ = true;
      channel.sendable_.pulse();
    }
  } ended{*this};
  // Neither ends by itself.
  co_await race(hold_.forward(inbox), stay_connected());
}

Task<> IrcChannel::stay_connected() {
  Millis delay = times_.reconnect_first;
  Millis lasting_delay = times_.lasting_first;
  for (;;) {
    up_since_.reset();
    const SessionEnd end = co_await connect_once();
    enter(ChannelState::down, fmt::format("{}:{}: {}", config_.irc.host, config_.irc.port, end.what));
    if (up_since_ && SteadyClock::now() - *up_since_ >= times_.stable) delay = times_.reconnect_first;
    if (up_since_) lasting_delay = times_.lasting_first;
    auto& next = end.lasting ? lasting_delay : delay;
    if (co_await network_.wait(Deadline::in(jittered(next)))) {
      delay = times_.reconnect_first;
    } else {
      next = std::min(next * 2, end.lasting ? times_.lasting_longest : times_.reconnect_longest);
    }
  }
}

void IrcChannel::network_is_back() {
  network_.pulse();
  if (connection_ != nullptr) connection_->probe();
}

// A name look-up or a SYN into a network that was away may hang on after it is back, so the call is made anew then.
Task<Result<std::unique_ptr<Stream>>> IrcChannel::dial_server() {
  const auto& irc = config_.irc;
  const Deadline deadline = Deadline::in(times_.connect);
  for (;;) {
    std::optional<Result<std::unique_ptr<Stream>>> stream;
    co_await race(
        [](IrcChannel& channel, DialOptions options, Deadline until, auto& into) -> Task<> {
          into.emplace(co_await channel.dial_(std::move(options), until));
        }(*this, {.host = irc.host, .port = irc.port, .tls = irc.tls, .ca_file = config_.ca_file}, deadline, stream),
        [](Event& network) -> Task<> { co_await network.wait(); }(network_));
    if (stream) co_return std::move(*stream);
  }
}

void IrcChannel::enter(ChannelState state, std::string error) {
  error_ = std::move(error);
  if (std::exchange(state_, state) != state) changed_.pulse();
}

void IrcChannel::note_progress() {
  last_progress_ = clock_.now();
  if (session_ == nullptr || !session_->up()) return;
  if (state_ != ChannelState::up) {
    enter(ChannelState::up, {});
    up_since_ = SteadyClock::now();
  }
  sendable_.pulse();
}

Task<SessionEnd> IrcChannel::connect_once() {
  auto stream = co_await dial_server();
  if (!stream) co_return SessionEnd{false, stream.error().what};

  Session session(
      session_settings(), clock_, outgoing_, [this](InboundEvent event) { hold_.push(std::move(event)); },
      [this] { return next_id(); });
  // However the connection ends, by a break or by cancellation, those who wait for receipts hear of it.
  struct Guard {
    IrcChannel& channel;
    std::string why = "stopping";
    ~Guard() {
      channel.session_ = nullptr;
      channel.connection_ = nullptr;
      channel.enter(ChannelState::down, why);
      channel.outgoing_.on_connection_lost(why);
    }
  } guard{*this};
  session_ = &session;
  Connection connection(std::move(*stream), session, outgoing_, hold_, work_, executor_, [this] { note_progress(); });
  connection_ = &connection;
  SessionEnd end = co_await connection.run();
  guard.why = end.what;
  co_return end;
}

Task<bool> IrcChannel::wait_until_sendable(std::string target) {
  const auto deadline = Deadline::in(times_.wait_for_up);
  while (session_ == nullptr || !session_->can_send_to(target)) {
    if (deadline.expired() || ended_) co_return false;
    co_await sendable_.wait(deadline);
  }
  co_return true;
}

std::vector<std::string> IrcChannel::lines_for(const Reply& reply) const {
  const auto& target = reply.route.conversation;
  std::string prefix;
  if (const auto asker = asker_of(reply.route.reply_to); session_->isupport().is_channel(target) && !asker.empty()) {
    prefix = std::string(asker) + ": ";
  }
  if (reply.may_be_repeat) prefix += "(may be a repeat) ";
  std::string said = reply.text;
  for (const Attachment& file : reply.attachments)
    said +=
        fmt::format("{}(file {} can't be sent on IRC)", said.empty() || said.ends_with('\n') ? "" : "\n", file.name);
  auto texts = compose_lines(said, prefix, {.bytes = text_room(session_->source_bytes(), target), .lines = 100});
  std::vector<std::string> lines;
  for (auto& text : texts) {
    // Always with the colon: what is counted as room holds for every text.
    lines.push_back(fmt::format("PRIVMSG {} :{}", target, text));
  }
  return lines;
}

Task<std::expected<Receipt, DeliveryError>> IrcChannel::deliver(Reply reply) {
  using Fate = DeliveryError::Fate;
  const auto& target = reply.route.conversation;
  if (!is_target(target))
    co_return undelivered(Fate::dead, fmt::format("\"{}\" is neither a nick nor a channel of IRC", target));
  if (!co_await wait_until_sendable(target)) {
    const bool not_joined = session_ != nullptr && session_->up();
    co_return undelivered(Fate::retry, not_joined
                                           ? fmt::format("not in {} at present", target)
                                           : fmt::format("not connected: {}", error_.empty() ? "connecting" : error_));
  }
  const auto delivery =
      outgoing_.deliver(target, fmt::format("talaria-{}-{}", reply.outbox_id, ++ids_), lines_for(reply));
  if (!delivery) {
    co_return std::unexpected(DeliveryError{Fate::retry, "too many replies wait for the flood limit", Millis(1'000)});
  }
  struct Guard {
    Outgoing& outgoing;
    const std::shared_ptr<Delivery>& delivery;
    ~Guard() { outgoing.abandon(delivery); }
  } guard{outgoing_, delivery};
  work_.pulse();
  co_await delivery->done.wait();
  co_return *delivery->outcome;
}

}  // namespace irc
}  // namespace talaria
