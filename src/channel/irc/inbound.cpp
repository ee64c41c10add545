#include "channel/irc/inbound.h"

#include <algorithm>

namespace talaria::irc {

namespace {

std::string_view trim(std::string_view text) {
  const auto start = text.find_first_not_of(" \t");
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(" \t") - start + 1);
}

// Skips up to `most` characters of `set`.
void skip(std::string_view& text, std::string_view set, std::size_t most) {
  text.remove_prefix(std::min({text.find_first_not_of(set), most, text.size()}));
}

constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kHex = "0123456789abcdefABCDEF";

// After a colour code: "4", "04,12".
void skip_colour(std::string_view& text, std::string_view digits, std::size_t most) {
  const auto before = text.size();
  skip(text, digits, most);
  if (text.size() < before && text.size() > 1 && text[0] == ',' && digits.contains(text[1])) {
    text.remove_prefix(1);
    skip(text, digits, most);
  }
}

// The text of a CTCP ACTION ("/me waves") as a person would write it; empty for any other CTCP.
std::string action_text(std::string_view text, std::string_view nick) {
  text.remove_prefix(1);
  if (text.ends_with('\x01')) text.remove_suffix(1);
  if (!text.starts_with("ACTION ")) return {};
  const std::string what = strip_formatting(text.substr(7));
  return trim(what).empty() ? "" : "* " + std::string(nick) + " " + std::string(trim(what));
}

}  // namespace

std::string strip_formatting(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto c = text.front();
    text.remove_prefix(1);
    if (c == 0x03) {
      skip_colour(text, kDigits, 2);
    } else if (c == 0x04) {
      skip_colour(text, kHex, 6);
    } else if (c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)) {
      out += c;
    }
  }
  return out;
}

std::optional<std::string> strip_mention(std::string_view text, std::string_view nick, CaseMapping mapping) {
  text = trim(text);
  const bool at = text.starts_with('@');
  if (at) text.remove_prefix(1);
  if (nick.empty() || text.size() < nick.size() || !same_name(text.substr(0, nick.size()), nick, mapping)) return {};
  text.remove_prefix(nick.size());
  const bool mark = text.starts_with(':') || text.starts_with(',');
  if (mark) text.remove_prefix(1);
  // "@nick" stands alone before a blank; without the @ a mark is needed: "talaria is great" is talk about us, not to
  // us.
  if (!mark && !(at && (text.empty() || text.front() == ' '))) return {};
  return std::string(trim(text));
}

std::optional<Incoming> read_privmsg(const Message& message, std::string_view own_nick, const Isupport& isupport) {
  const auto mapping = isupport.casemapping;
  if (message.command != "PRIVMSG" || message.params.size() < 2 || !message.source.is_user()) return {};
  if (same_name(message.source.nick, own_nick, mapping)) return {};
  if (message.tag("bot") != nullptr || message.tag("draft/bot") != nullptr) return {};  // IRCv3 bot-mode
  Incoming in{.from = message.source, .target = std::string(message.param(0)), .text = {}, .direct = false};
  const auto raw = message.param(1);
  in.direct = same_name(in.target, own_nick, mapping);
  if (in.direct) {
    in.target = in.from.nick;
    in.text = raw.starts_with('\x01') ? action_text(raw, in.from.nick) : std::string(trim(strip_formatting(raw)));
    // A habit from channels; not part of what is said.
    if (auto rest = strip_mention(in.text, own_nick, mapping)) in.text = *rest;
  } else {
    if (!isupport.is_channel(in.target) || raw.starts_with('\x01')) return {};
    const auto rest = strip_mention(strip_formatting(raw), own_nick, mapping);
    if (!rest) return {};
    in.text = *rest;
  }
  if (in.text.empty()) return {};
  return in;
}

}  // namespace talaria::irc
