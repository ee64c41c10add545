#pragma once
// One stay on one server, from the first line to the last: login, channels, who is who, keep-alive. A state machine: it
// is fed lines and the time, puts what is to be sent into Outgoing and what people said to us into `on_event`.
// Connection does its reading and writing.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.h"
#include "channel/irc/accounts.h"
#include "channel/irc/allow.h"
#include "channel/irc/inbound.h"
#include "channel/irc/isupport.h"
#include "channel/irc/login.h"
#include "channel/irc/outgoing.h"
#include "channel/irc/rooms.h"

namespace talaria::irc {

struct SessionTimes {
  Millis login{60'000};        // from the first line to the greeting
  Millis ping_every{60'000};   // our own PING
  Millis ping_answer{30'000};  // its PONG, or that of a delivery; later: the connection is deaf
  Millis regain_first{1'000};  // after login without the wanted nick: asking for it again; a ghost of ours goes soon
  Millis regain{60'000};       // the longest wait between two such questions
  Millis settle{60'000};       // so long after our coming, a nick that is not there may still come
};

struct SessionSettings {
  std::string channel;  // name of the channel's table in the configuration
  LoginSettings login;
  std::vector<std::string> join;
  AllowList allow{std::vector<std::string>{}};
  AllowList admins{std::vector<std::string>{}};  // answered, too
  SessionTimes times;
  std::function<void(std::string_view)> on_passed_over = [](std::string_view) {};  // see Inbox::passed_over()
};

// Why a session is over.
struct SessionEnd {
  bool lasting = false;  // trying again soon is of no use: wrong configuration
  std::string what;
};

class Session {
 public:
  using Time = SteadyClock::time_point;
  // Message ids for servers that give none: unique for ever.
  using MakeId = std::function<std::string()>;
  using OnEvent = std::function<void(InboundEvent)>;

  Session(SessionSettings settings, const WallClock& clock, Outgoing& outgoing, OnEvent on_event, MakeId make_id);

  void start(Time now);
  void on_line(std::string_view line, Time now);  // without CR LF; rubbish is passed over
  void on_tick(Time now);                         // to be called at next_tick() or before
  [[nodiscard]] Time next_tick() const;
  // Reading had been held back until `now`: a PONG may be waiting unread, so the clock of every PING starts anew.
  void resumed(Time now);

  // Asks the server for a sign of life at the next tick, which is now.
  void probe(Time now) { next_ping_ = std::min(next_ping_, now); }

  [[nodiscard]] const std::optional<SessionEnd>& end() const { return end_; }
  [[nodiscard]] bool up() const { return up_; }
  // Whether lines to the target may be sent now: we are in, and in the channel if it is one of ours.
  [[nodiscard]] bool can_send_to(std::string_view target) const;
  [[nodiscard]] std::string_view nick() const { return nick_; }
  // Bytes of "nick!user@host" as the server puts it before our lines; the worst case while it has not told.
  [[nodiscard]] std::size_t source_bytes() const;
  [[nodiscard]] const Isupport& isupport() const { return isupport_; }

 private:
  void on_message(const Message& message, Time now);
  void on_numeric(const Message& message, Time now);
  void on_welcome(const Message& message, Time now);
  void on_ready(Time now);
  void on_privmsg(const Message& message);
  void on_join(const Message& message, Time now);
  void on_leave(std::string_view nick, std::string_view channel, Time now);
  void on_nick(const Message& message);
  void on_names(const Message& message);
  void on_who(const Message& message);
  void on_pong(const Message& message, Time now);
  void learn_source(const Source& source);
  void regain_nick();
  void send_joins(Time now);
  void finish(bool lasting, std::string what);
  void send(std::string_view command, std::vector<std::string> params, bool urgent);

  [[nodiscard]] UnixMillis since(const Message& coming) const;
  [[nodiscard]] bool is_me(std::string_view nick) const { return same_name(nick, nick_, isupport_.casemapping); }
  [[nodiscard]] std::string folded(std::string_view name) const { return fold(name, isupport_.casemapping); }
  [[nodiscard]] bool tracks_accounts() const;
  [[nodiscard]] std::optional<std::string> account_of(const Message& message) const;

  SessionSettings settings_;
  const WallClock& clock_;
  Outgoing& outgoing_;
  OnEvent on_event_;
  MakeId make_id_;
  Login login_;
  Isupport isupport_;
  AccountBook accounts_;
  Rooms rooms_;
  std::string nick_;
  std::string user_;  // ours, as relayed; empty: not known
  std::string host_;
  bool up_ = false;
  std::optional<SessionEnd> end_;

  UnixMillis since_ = 0;  // private messages of before were not said to us now
  Time login_due_{};
  Time next_ping_{};
  Time next_regain_{};
  Millis regain_delay_{0};
  std::optional<Time> ping_sent_;  // ours, not yet answered
  Time resumed_at_{};
  Time up_at_{};
  std::uint64_t pings_ = 0;
};

}  // namespace talaria::irc
