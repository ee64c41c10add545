#include "channel/irc/rooms.h"

#include <algorithm>

namespace talaria::irc {

namespace {
constexpr Millis kFirstDelay{5'000};
constexpr Millis kLongestDelay{300'000};
}  // namespace

Rooms::Rooms(const std::vector<std::string>& wanted) {
  for (const auto& entry : wanted) {
    const auto blank = std::min(entry.find(' '), entry.size());
    rooms_.push_back({.join = {entry.substr(0, blank), entry.substr(std::min(blank + 1, entry.size()))}});
  }
}

std::vector<Rooms::Join> Rooms::due(Time now) {
  std::vector<Join> out;
  for (auto& room : rooms_) {
    if (room.joined || room.due > now) continue;
    out.push_back(room.join);
    room.due = now + room.delay;
    room.delay = std::min(room.delay * 2, kLongestDelay);
  }
  return out;
}

std::optional<Rooms::Time> Rooms::next_due() const {
  std::optional<Time> next;
  for (const auto& room : rooms_) {
    if (!room.joined) next = next ? std::min(*next, room.due) : room.due;
  }
  return next;
}

const Rooms::Room* Rooms::find(std::string_view channel, CaseMapping mapping) const {
  const auto found =
      std::ranges::find_if(rooms_, [&](const Room& r) { return same_name(r.join.channel, channel, mapping); });
  return found == rooms_.end() ? nullptr : &*found;
}

void Rooms::on_joined(std::string_view channel, CaseMapping mapping, Time now, UnixMillis since) {
  for (auto& room : rooms_) {
    if (room.joined || !same_name(room.join.channel, channel, mapping)) continue;
    room.joined = true;
    room.joined_at = now;
    room.since = since;
  }
}

void Rooms::on_lost(std::string_view channel, CaseMapping mapping, Time now) {
  for (auto& room : rooms_) {
    if (!room.joined || !same_name(room.join.channel, channel, mapping)) continue;
    room.joined = false;
    // Kicked soon after we came, we come back later each time.
    if (now - room.joined_at > kLongestDelay) room.delay = kFirstDelay;
    room.due = now + room.delay;
    room.delay = std::min(room.delay * 2, kLongestDelay);
  }
}

bool Rooms::wants(std::string_view channel, CaseMapping mapping) const { return find(channel, mapping) != nullptr; }

bool Rooms::in(std::string_view channel, CaseMapping mapping) const {
  const auto* room = find(channel, mapping);
  return room != nullptr && room->joined;
}

std::optional<Rooms::Place> Rooms::place(std::string_view channel, CaseMapping mapping) const {
  const auto* room = find(channel, mapping);
  if (room == nullptr || !room->joined) return {};
  return Place{room->join.channel, room->since};
}

}  // namespace talaria::irc
