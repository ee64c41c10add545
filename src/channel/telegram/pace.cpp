#include "channel/telegram/pace.h"

#include <algorithm>

namespace talaria::telegram {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_chats = 4096;

bool is_group(const std::string& chat) { return chat.starts_with('-') || chat.starts_with('@'); }

}  // namespace

// A chat that was silent for a minute is as good as one that was never heard of.
void Pace::forget_quiet(Time now) {
  std::erase_if(chats_, [&](const auto& entry) { return now - entry.second.last > 60s && entry.second.blocked < now; });
}

Pace::Chat& Pace::chat_of(const std::string& chat, Time now) {
  const auto found = chats_.find(chat);
  if (found != chats_.end()) return found->second;
  if (chats_.size() >= most_chats) forget_quiet(now);
  return chats_.try_emplace(chat, per_second_, now).first->second;
}

Pace::Time Pace::ready_at(const std::string& chat, Act act, bool partial, Time now) {
  Chat& entry = chat_of(chat, now);
  Time ready = std::max({entry.bucket.ready_at(now), all_.ready_at(now), blocked_until(chat)});
  if (partial) ready = std::max(ready, entry.last + (is_group(chat) ? 3s : 1s));
  if (act == Act::send && is_group(chat)) {
    while (!entry.minute.empty() && now - entry.minute.front() >= 60s) entry.minute.pop_front();
    if (entry.minute.size() >= static_cast<std::size_t>(per_minute_))
      ready = std::max(ready, entry.minute[entry.minute.size() - static_cast<std::size_t>(per_minute_)] + 60s + 1ms);
  }
  return ready;
}

void Pace::took(const std::string& chat, Act act, Time now) {
  Chat& entry = chat_of(chat, now);
  entry.bucket.take(now);
  all_.take(now);
  entry.last = now;
  if (act == Act::send && is_group(chat)) {
    entry.minute.push_back(now);
    if (entry.minute.size() > 2000) entry.minute.pop_front();
  }
}

void Pace::blocked(const std::string& chat, Time until, Time now) {
  Chat& entry = chat_of(chat, now);
  entry.blocked = std::max(entry.blocked, until);
  const bool others =
      std::ranges::any_of(chats_, [&](const auto& other) { return other.first != chat && other.second.blocked > now; });
  if (others) all_blocked_ = std::max(all_blocked_, until);
}

Pace::Time Pace::blocked_until(const std::string& chat) const {
  const auto found = chats_.find(chat);
  return std::max(all_blocked_, found == chats_.end() ? Time{} : found->second.blocked);
}

}  // namespace talaria::telegram
