#pragma once
// The channels we are to be in: joined after login, joined again after a kick or a refusal, with growing delays.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "channel/irc/casemap.h"

namespace talaria::irc {

class Rooms {
 public:
  using Time = SteadyClock::time_point;

  // `wanted`: "#channel" or "#channel key".
  explicit Rooms(const std::vector<std::string>& wanted);

  struct Join {
    std::string channel;
    std::string key;  // empty: none
  };
  // The channels to ask for now; each is counted as asked, and asked again later unless it lets us in.
  [[nodiscard]] std::vector<Join> due(Time now);
  [[nodiscard]] std::optional<Time> next_due() const;  // none: in all of them

  // `since`: lines of before are not said to us.
  void on_joined(std::string_view channel, CaseMapping mapping, Time now, UnixMillis since);
  void on_lost(std::string_view channel, CaseMapping mapping, Time now);  // kicked, parted by force

  [[nodiscard]] bool wants(std::string_view channel, CaseMapping mapping) const;
  [[nodiscard]] bool in(std::string_view channel, CaseMapping mapping) const;
  struct Place {
    std::string channel;  // in the configuration's spelling
    UnixMillis since;
  };
  // None: we are not in that channel.
  [[nodiscard]] std::optional<Place> place(std::string_view channel, CaseMapping mapping) const;

 private:
  struct Room {
    Join join;
    bool joined = false;
    Time joined_at{};
    UnixMillis since = 0;
    Time due{};  // ask at this time
    Millis delay{5'000};
  };
  const Room* find(std::string_view channel, CaseMapping mapping) const;
  std::vector<Room> rooms_;
};

}  // namespace talaria::irc
