#pragma once
// How fast Telegram lets a bot speak: about thirty messages a second in all, one a second in a chat with short bursts
// allowed, twenty a minute in a group
// (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this). Whoever is faster is told 429 and
// how long to wait; a chat that is told so waits, and when two chats are, the bot as a whole is meant and everybody
// waits.

#include <deque>
#include <map>
#include <string>

#include "channel/token_bucket.h"

namespace talaria::telegram {

class Pace {
 public:
  using Time = SteadyClock::time_point;
  enum class Act { send, edit };

  // per_second: in one chat; per_minute: in one group.
  Pace(double per_second, int per_minute) : per_second_(per_second), per_minute_(per_minute) {}

  // When this may be done; `now` or earlier: at once. `partial`: of an answer that is still being written, where more
  // than one change a second in a chat (three seconds in a group) is of no use.
  [[nodiscard]] Time ready_at(const std::string& chat, Act act, bool partial, Time now);
  void took(const std::string& chat, Act act, Time now);
  // Telegram said 429.
  void blocked(const std::string& chat, Time until, Time now);
  // Nothing may be done there before; `now` or earlier: it isn't blocked.
  [[nodiscard]] Time blocked_until(const std::string& chat) const;

 private:
  struct Chat {
    Chat(double rate, Time now) : bucket(rate, 3), last(now - std::chrono::hours(1)) {}
    TokenBucket bucket;
    std::deque<Time> minute;  // of a group: the messages of the last minute
    Time last;
    Time blocked{};
  };
  Chat& chat_of(const std::string& chat, Time now);
  void forget_quiet(Time now);

  double per_second_;
  int per_minute_;
  TokenBucket all_{30, 5};
  Time all_blocked_{};
  std::map<std::string, Chat> chats_;
};

}  // namespace talaria::telegram
