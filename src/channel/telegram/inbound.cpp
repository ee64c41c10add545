#include "channel/telegram/inbound.h"

#include <algorithm>

#include "channel/telegram/allow.h"
#include "channel/text_split.h"

namespace talaria::telegram {

namespace {

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

constexpr std::string_view blanks = " \t\r\n";

std::string_view trim(std::string_view text) {
  const auto start = text.find_first_not_of(blanks);
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(blanks) - start + 1);
}

// What entities say about us: pieces to cut out, and whether it is us who are meant.
struct Addressing {
  struct Cut {
    std::size_t at, bytes;
  };
  std::vector<Cut> cuts;
  bool ours = false;
  bool other_bots = false;  // begins with a command for another bot
};

Addressing read_addressing(const Message& message, const Identity& self) {
  Addressing found;
  for (const Entity& entity : message.entities) {
    const auto at = utf16_offset(message.text, entity.offset);
    const auto end = utf16_offset(message.text, entity.offset + entity.length);
    const auto word = std::string_view(message.text).substr(at, end - at);
    if (entity.type == "text_mention") {
      if (entity.user_id != self.id) continue;
    } else if (entity.type == "mention") {
      if (!word.starts_with('@') || !same_name(word.substr(1), self.username)) continue;
    } else {
      const auto sign = word.find('@');
      if (sign == word.npos) continue;
      if (!same_name(word.substr(sign + 1), self.username)) {
        found.other_bots = found.other_bots || at == 0;
        continue;
      }
      found.ours = true;
      found.cuts.push_back({at + sign, word.size() - sign});
      continue;
    }
    found.ours = true;
    found.cuts.push_back({at, word.size()});
  }
  return found;
}

std::string cut_out(std::string_view text, std::vector<Addressing::Cut> cuts) {
  std::ranges::sort(cuts, {}, &Addressing::Cut::at);
  std::string out;
  std::size_t from = 0;
  for (const auto& cut : cuts) {
    if (cut.at < from) continue;  // entities that overlap
    out += text.substr(from, cut.at - from);
    from = cut.at + cut.bytes;
    // "hello @bot, how" → "hello, how"; "one @bot two" → "one two"; "@bot: x" → "x"
    if (trim(out).empty()) {
      out.clear();
      const auto next = text.find_first_not_of(blanks, from);
      if (next != text.npos && (text[next] == ':' || text[next] == ',')) from = next + 1;
    }
    if (out.ends_with(' ') && (from >= text.size() || !std::isalnum(static_cast<unsigned char>(text[from])))) {
      out.pop_back();
    }
  }
  out += text.substr(std::min(from, text.size()));
  return std::string(trim(out));
}

}  // namespace

bool AllowList::allows(const Message& message) const {
  return std::ranges::any_of(rules_, [&](std::string_view rule) {
    if (rule == "*") return true;
    if (rule.starts_with("user:")) return message.from_id != 0 && rule.substr(5) == std::to_string(message.from_id);
    if (rule.starts_with("username:"))
      return !message.from_username.empty() && same_name(rule.substr(9), message.from_username);
    if (rule.starts_with("chat:")) return rule.substr(5) == std::to_string(message.chat_id);
    return false;
  });
}

std::optional<std::string> text_for_us(const Message& message, const Identity& self, Groups groups) {
  if (message.from_id == 0 || message.from_bot || message.from_id == self.id) return std::nullopt;
  const Addressing addressing = read_addressing(message, self);
  if (!message.direct) {
    if (groups == Groups::off) return std::nullopt;
    const bool answers_us = message.replies_to_user == self.id && self.id != 0;
    const bool all = groups == Groups::all && !addressing.other_bots;
    if (!addressing.ours && !answers_us && !all) return std::nullopt;
  }
  std::string text = cut_out(message.text, addressing.cuts);
  if (!message.unread.empty()) text += (text.empty() ? "" : "\n") + message.unread;
  if (text.empty() && message.files.empty()) return std::nullopt;
  return text;
}

InboundEvent make_event(const Message& message, std::string channel, std::string text, bool admin, UnixMillis now) {
  InboundEvent event;
  event.route = {.channel = std::move(channel),
                 .conversation = std::to_string(message.chat_id),
                 .thread = message.thread != 0 ? std::to_string(message.thread) : std::string(),
                 // In a private chat it is plain what is answered.
                 .reply_to = message.direct ? std::string() : std::to_string(message.id)};
  event.sender = {.id = std::to_string(message.from_id),
                  .name = message.from_name.empty() ? message.from_username : message.from_name,
                  .admin = admin};
  event.message_id = std::to_string(message.id);
  event.text = std::move(text);
  event.direct = message.direct;
  event.received_at = message.date > 0 && message.date < now / 1000 ? message.date * 1000 : now;
  return event;
}

}  // namespace talaria::telegram
