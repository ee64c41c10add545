#include "channel/irc/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace talaria::irc {

namespace {

constexpr std::size_t kLongestHost = 63;
constexpr Millis kClockSkew{5'000};     // between the server's clock and itself, or ours
constexpr Millis kWorstClock{600'000};  // a server's time of our coming that is older is of somebody else's coming
constexpr std::string_view kAlive = "talaria-alive-";
constexpr std::string_view kReady = "talaria-ready";
constexpr std::string_view kWhoxToken = "742";  // tells answers to our WHO from others

// An id in a channel's message also tells who is to be answered: a nick has no '!' (irc_channel.cpp reads it back).
std::string message_id(const Incoming& in, std::string id) { return in.direct ? id : in.from.nick + "!" + id; }

}  // namespace

Session::Session(SessionSettings settings, const WallClock& clock, Outgoing& outgoing, OnEvent on_event, MakeId make_id)
    : settings_(std::move(settings)),
      clock_(clock),
      outgoing_(outgoing),
      on_event_(std::move(on_event)),
      make_id_(std::move(make_id)),
      login_(settings_.login),
      rooms_(settings_.join),
      nick_(settings_.login.nick) {}

void Session::send(std::string_view command, std::vector<std::string> params, bool urgent) {
  auto line = format_line(command, params);
  if (!line) return;  // a name from the server that can't be sent back
  urgent ? outgoing_.urgent(*std::move(line)) : outgoing_.paced(*std::move(line));
}

void Session::finish(bool lasting, std::string what) {
  up_ = false;
  if (!end_) end_ = SessionEnd{lasting, std::move(what)};  // the first cause is kept
}

void Session::start(Time now) {
  login_due_ = now + settings_.times.login;
  for (auto& line : login_.start()) outgoing_.urgent(std::move(line));
}

void Session::on_line(std::string_view line, Time now) {
  if (end_) return;
  const auto message = parse_message(line);
  if (!message) return;
  const bool registered = login_.registered();
  for (auto& out : login_.on_message(*message)) outgoing_.urgent(std::move(out));
  if (login_.failure()) return finish(login_.failure()->lasting, login_.failure()->what);
  if (!registered && login_.registered()) on_welcome(*message, now);
  on_message(*message, now);
  if (outgoing_.overflowed()) finish(false, "the server asks for more answers than it takes");
}

void Session::on_message(const Message& message, Time now) {
  const auto& command = message.command;
  const auto& from = message.source;
  if (command == "PING") return send("PONG", {std::string(message.params.empty() ? "" : message.params.back())}, true);
  if (command == "ERROR") return finish(false, fmt::format("the server closed the connection: {}", message.param(0)));
  if (!login_.registered()) return;
  if (command == "PRIVMSG") return on_privmsg(message);
  if (command == "PONG") return on_pong(message, now);
  if (command == "JOIN") return on_join(message, now);
  if (command == "PART") return on_leave(from.nick, message.param(0), now);
  if (command == "KICK") return on_leave(message.param(1), message.param(0), now);
  if (command == "NICK") return on_nick(message);
  if (command == "QUIT") {
    accounts_.quit(folded(from.nick));
    if (same_name(from.nick, settings_.login.nick, isupport_.casemapping)) regain_nick();
    return;
  }
  if (command == "ACCOUNT") {
    accounts_.account_is(folded(from.nick), message.param(0) == "*" ? "" : std::string(message.param(0)));
    return;
  }
  if (command == "CHGHOST" && is_me(from.nick)) {
    user_ = message.param(0);
    host_ = message.param(1);
    return;
  }
  on_numeric(message, now);
}

void Session::on_numeric(const Message& message, Time now) {
  const auto& command = message.command;
  if (command == "005") return isupport_.apply(message);
  if (command == "376" || command == "422") return on_ready(now);  // the end of the message of the day, or none
  if (command == "353") return on_names(message);
  if (command == "354") return on_who(message);
  if (command == "396") {  // our host is shown otherwise now: "host" or "user@host"
    const auto shown = message.param(1);
    const auto at = shown.find('@');
    host_ = at == shown.npos ? shown : shown.substr(at + 1);
    return;
  }
  outgoing_.on_error(message,
                     {.in_channel = rooms_.in(message.param(1), isupport_.casemapping),
                      .settling = now - up_at_ < settings_.times.settle},
                     isupport_.casemapping);
}

// The server's time of `coming`, our own login or JOIN, is on the clock of the lines that follow.
UnixMillis Session::since(const Message& coming) const {
  const UnixMillis ours = clock_.now();
  return std::max(coming.time().value_or(ours), ours - kWorstClock.count()) - kClockSkew.count();
}

void Session::on_welcome(const Message& message, Time now) {
  since_ = since(message);
  nick_ = login_.nick();
  next_ping_ = now + settings_.times.ping_every;
  regain_delay_ = settings_.times.regain_first;
  next_regain_ = now + regain_delay_;
  // Answered after the whole greeting, for servers that end it in some other way.
  send("PING", {std::string(kReady)}, true);
}

void Session::on_ready(Time now) {
  if (up_) return;
  up_ = true;
  up_at_ = now;
  if (isupport_.bot_mode != '\0') send("MODE", {nick_, std::string("+") + isupport_.bot_mode}, false);
  send_joins(now);
}

void Session::send_joins(Time now) {
  for (const auto& join : rooms_.due(now)) {
    if (join.key.empty()) {
      send("JOIN", {join.channel}, false);
    } else {
      send("JOIN", {join.channel, join.key}, false);
    }
  }
}

void Session::on_pong(const Message& message, Time now) {
  const auto token = message.params.empty() ? std::string_view() : std::string_view(message.params.back());
  if (token == kReady) return on_ready(now);
  if (token.starts_with(kAlive)) {
    // Only the latest counts: an older one proves less than we ask for.
    if (token.substr(kAlive.size()) == std::to_string(pings_)) ping_sent_.reset();
    return;
  }
  outgoing_.on_pong(token);
}

bool Session::tracks_accounts() const {
  return (settings_.allow.needs_accounts() || settings_.admins.needs_accounts()) && login_.has("account-notify") &&
         !login_.has("account-tag");
}

std::optional<std::string> Session::account_of(const Message& message) const {
  // With account-tag each message says it, by having the tag or not.
  if (login_.has("account-tag")) {
    const auto* tag = message.tag("account");
    return tag == nullptr || tag->empty() ? std::nullopt : std::optional(*tag);
  }
  return tracks_accounts() ? accounts_.account_of(folded(message.source.nick)) : std::nullopt;
}

void Session::on_privmsg(const Message& message) {
  auto in = read_privmsg(message, nick_, isupport_);
  if (!in) return;
  UnixMillis since = since_;
  if (!in->direct) {
    const auto room = rooms_.place(in->target, isupport_.casemapping);
    if (!room) return;
    in->target = room->channel;
    since = room->since;
  }
  const auto account = account_of(message);
  const bool admin = settings_.admins.allows(in->from, account, isupport_.casemapping);
  if (!admin && !settings_.allow.allows(in->from, account, isupport_.casemapping)) {
    settings_.on_passed_over(
        printable(fmt::format("a message of {}!{}@{} ({}) is not answered: no rule of allow fits", in->from.nick,
                              in->from.user, in->from.host, account ? "account " + *account : "no account")));
    return;
  }
  const auto* given = message.tag("msgid");
  const bool has_id = given != nullptr && !given->empty();
  const auto said_at = message.time();
  // A bouncer, or a channel's history, shows it at each of our comings; without an id nobody can tell it from new ones.
  if (!has_id && said_at && *said_at < since) {
    settings_.on_passed_over(
        printable(fmt::format("a message of {} is not answered: it is from {}, before we came, and has no msgid",
                              in->from.nick, format_rfc3339(*said_at))));
    return;
  }
  InboundEvent event;
  event.received_at = std::min(said_at.value_or(clock_.now()), clock_.now());
  event.message_id = message_id(*in, has_id ? *given : make_id_());
  event.route = {.channel = settings_.channel, .conversation = in->target, .thread = {}, .reply_to = event.message_id};
  event.sender = {.id = account ? "account:" + folded(*account) : "nick:" + folded(in->from.nick),
                  .name = in->from.nick,
                  .admin = admin};
  event.text = std::move(in->text);
  event.direct = in->direct;
  on_event_(std::move(event));
}

void Session::learn_source(const Source& source) {
  if (!source.is_user()) return;
  user_ = source.user;
  host_ = source.host;
}

std::size_t Session::source_bytes() const {
  // Where the server has not told, it may put a ~ before the user, and show any host.
  const auto& configured = settings_.login.user.empty() ? settings_.login.nick : settings_.login.user;
  const std::size_t user = user_.empty() ? configured.size() + 1 : user_.size();
  const std::size_t host = host_.empty() ? kLongestHost : host_.size();
  return nick_.size() + 1 + user + 1 + host;
}

bool Session::can_send_to(std::string_view target) const {
  if (!up_) return false;
  const auto mapping = isupport_.casemapping;
  return !rooms_.wants(target, mapping) || rooms_.in(target, mapping);
}

void Session::on_join(const Message& message, Time now) {
  const auto channel = message.param(0);
  if (is_me(message.source.nick)) {
    learn_source(message.source);
    rooms_.on_joined(channel, isupport_.casemapping, now, since(message));
    if (tracks_accounts() && isupport_.whox) {
      send("WHO", {std::string(channel), fmt::format("%tcna,{}", kWhoxToken)}, false);
    }
    return;
  }
  if (!tracks_accounts()) return;
  // extended-join: "JOIN #channel account :realname", "*" for none.
  std::optional<std::string> account;
  if (login_.has("extended-join") && message.params.size() > 1) {
    account = message.param(1) == "*" ? "" : std::string(message.param(1));
  }
  accounts_.joined(folded(message.source.nick), folded(channel), std::move(account));
}

void Session::on_leave(std::string_view nick, std::string_view channel, Time now) {
  if (!is_me(nick)) return accounts_.parted(folded(nick), folded(channel));
  accounts_.left(folded(channel));
  rooms_.on_lost(channel, isupport_.casemapping, now);
}

void Session::on_names(const Message& message) {
  // "353 me = #channel :@alice +bob carol"
  if (!tracks_accounts() || message.params.size() < 4) return;
  std::string_view names = message.params.back();
  while (!names.empty()) {
    const auto end = std::min(names.find(' '), names.size());
    auto name = names.substr(0, end);
    names.remove_prefix(std::min(end + 1, names.size()));
    name.remove_prefix(std::min(name.find_first_not_of("~&@%+!"), name.size()));
    name = name.substr(0, name.find('!'));
    if (!name.empty() && !is_me(name)) accounts_.joined(folded(name), folded(message.param(2)), {});
  }
}

void Session::on_who(const Message& message) {
  // "354 me 742 #channel nick account", "0" for none
  if (!tracks_accounts() || message.param(1) != kWhoxToken || message.params.size() < 5) return;
  accounts_.account_is(folded(message.param(3)), message.param(4) == "0" ? "" : std::string(message.param(4)));
}

void Session::on_nick(const Message& message) {
  const auto old = std::string(message.source.nick);
  const auto now_called = std::string(message.param(0));
  if (now_called.empty()) return;
  if (is_me(old)) {
    nick_ = now_called;
    return;
  }
  accounts_.renamed(folded(old), folded(now_called));
  if (same_name(old, settings_.login.nick, isupport_.casemapping)) regain_nick();
}

void Session::regain_nick() {
  if (up_ && !is_me(settings_.login.nick)) send("NICK", {settings_.login.nick}, false);
}

void Session::on_tick(Time now) {
  if (end_) return;
  if (!login_.registered()) {
    if (now >= login_due_)
      finish(false, fmt::format("no greeting from the server within {}", format_duration(settings_.times.login)));
    return;
  }
  const auto oldest = outgoing_.oldest_ping();
  for (const auto& sent : {ping_sent_, oldest}) {
    if (sent && now - std::max(*sent, resumed_at_) >= settings_.times.ping_answer) {
      return finish(false, fmt::format("the server did not answer a PING within {}",
                                       format_duration(settings_.times.ping_answer)));
    }
  }
  if (now >= next_ping_) {
    if (!ping_sent_) ping_sent_ = now;
    send("PING", {fmt::format("{}{}", kAlive, ++pings_)}, true);
    next_ping_ = now + settings_.times.ping_every;
  }
  if (now >= next_regain_ && !is_me(settings_.login.nick)) {
    regain_nick();
    regain_delay_ = std::min(regain_delay_ * 2, settings_.times.regain);
    next_regain_ = now + regain_delay_;
  }
  if (up_) send_joins(now);
}

void Session::resumed(Time now) { resumed_at_ = now; }

Session::Time Session::next_tick() const {
  if (!login_.registered()) return login_due_;
  Time next = next_ping_;
  if (!is_me(settings_.login.nick)) next = std::min(next, next_regain_);
  for (const auto& sent : {ping_sent_, outgoing_.oldest_ping()}) {
    if (sent) next = std::min(next, std::max(*sent, resumed_at_) + settings_.times.ping_answer);
  }
  if (const auto join = rooms_.next_due(); up_ && join) next = std::min(next, *join);
  return next;
}

}  // namespace talaria::irc
