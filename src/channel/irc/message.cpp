#include "channel/irc/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "channel/text_split.h"

namespace talaria::irc {

namespace {

constexpr std::string_view kForbidden{"\0\r\n", 3};

// Cuts the text up to the next blank off `rest`, and the blanks after it.
std::string_view take_word(std::string_view& rest) {
  const auto end = std::min(rest.find(' '), rest.size());
  const auto word = rest.substr(0, end);
  rest.remove_prefix(end);
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  return word;
}

// IRCv3 message-tags, "Escaping values".
std::string unescape_tag(std::string_view value) {
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '\\') {
      out += value[i];
      continue;
    }
    if (++i == value.size()) break;  // a lone backslash at the end is dropped
    switch (value[i]) {
      case ':': out += ';'; break;
      case 's': out += ' '; break;
      case 'r': out += '\r'; break;
      case 'n': out += '\n'; break;
      default: out += value[i];
    }
  }
  return out;
}

void parse_tags(std::string_view text, Message& message) {
  while (!text.empty()) {
    const auto end = std::min(text.find(';'), text.size());
    const auto tag = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto equals = std::min(tag.find('='), tag.size());
    if (equals == 0) continue;
    message.tags.emplace_back(tag.substr(0, equals), unescape_tag(tag.substr(std::min(equals + 1, tag.size()))));
  }
}

Source parse_source(std::string_view text) {
  Source source;
  const auto at = text.find('@');
  const auto bang = text.substr(0, at).find('!');
  source.nick = text.substr(0, std::min(bang, at));
  if (bang != std::string_view::npos) source.user = text.substr(bang + 1, at == text.npos ? at : at - bang - 1);
  if (at != std::string_view::npos) source.host = text.substr(at + 1);
  return source;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_command(std::string_view word) {
  if (word.size() == 3 && std::ranges::all_of(word, is_digit)) return true;
  return !word.empty() && std::ranges::all_of(word, is_letter);
}

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

int decimal(std::string_view digits) {
  int value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

std::optional<UnixMillis> Message::time() const {
  const auto* given = tag("time");
  const std::string_view text = given == nullptr ? std::string_view() : *given;
  constexpr std::string_view form = "0000-00-00T00:00:00";
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.size() <= form.size() || text.back() != 'Z') return {};
  for (std::size_t i = 0; i < form.size(); ++i) {
    if (form[i] == '0' ? !is_digit(text[i]) : text[i] != form[i]) return {};
  }
  std::string millis;
  if (auto rest = text.substr(form.size(), text.size() - form.size() - 1); !rest.empty()) {
    if (rest.size() < 2 || rest.size() > 10 || rest[0] != '.' || !std::ranges::all_of(rest.substr(1), is_digit))
      return {};
    millis = rest.substr(1, 3);
  }
  millis.resize(3, '0');
  const std::chrono::year_month_day day{std::chrono::year(decimal(text.substr(0, 4))),
                                        std::chrono::month(static_cast<unsigned>(decimal(text.substr(5, 2)))),
                                        std::chrono::day(static_cast<unsigned>(decimal(text.substr(8, 2))))};
  const int hour = decimal(text.substr(11, 2));
  const int minute = decimal(text.substr(14, 2));
  const int second = decimal(text.substr(17, 2));  // 60: a leap second
  if (!day.ok() || day.year() < std::chrono::year(1970) || hour > 23 || minute > 59 || second > 60) return {};
  const Millis since = std::chrono::sys_days(day).time_since_epoch() + std::chrono::hours(hour) +
                       std::chrono::minutes(minute) + std::chrono::seconds(second) + Millis(decimal(millis));
  return since.count();
}

const std::string* Message::tag(std::string_view key) const {
  // Of a repeated tag the last value counts (IRCv3 message-tags).
  const auto found = std::find_if(tags.rbegin(), tags.rend(), [&](const auto& t) { return t.first == key; });
  return found == tags.rend() ? nullptr : &found->second;
}

std::string_view Message::param(std::size_t index) const {
  return index < params.size() ? std::string_view(params[index]) : std::string_view();
}

Result<Message> parse_message(std::string_view line) {
  if (line.size() > kMaxInput) return fail(ErrorKind::invalid, fmt::format("IRC line of {} bytes", line.size()));
  if (line.find_first_of(kForbidden) != std::string_view::npos) {
    return fail(ErrorKind::invalid, "IRC line with a NUL, CR or LF inside");
  }
  const std::string valid = replace_invalid_utf8(line);
  std::string_view rest = valid;
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  Message message;
  if (rest.starts_with('@')) parse_tags(take_word(rest).substr(1), message);
  if (rest.starts_with(':')) message.source = parse_source(take_word(rest).substr(1));
  const auto command = take_word(rest);
  if (!is_command(command)) return fail(ErrorKind::invalid, "IRC line without a command");
  std::ranges::transform(command, std::back_inserter(message.command), upper);
  while (!rest.empty()) {
    if (rest.starts_with(':') || message.params.size() + 1 == kMaxParams) {
      message.params.emplace_back(rest.substr(rest.starts_with(':') ? 1 : 0));
      break;
    }
    message.params.emplace_back(take_word(rest));
  }
  return message;
}

Result<std::string> format_line(std::string_view command, std::span<const std::string> params) {
  if (!is_command(command)) return fail(ErrorKind::invalid, "IRC command must be letters or three digits");
  if (params.size() > kMaxParams) return fail(ErrorKind::invalid, fmt::format("{}: too many parameters", command));
  std::string line(command);
  for (std::size_t i = 0; i < params.size(); ++i) {
    const std::string& param = params[i];
    if (param.find_first_of(kForbidden) != std::string::npos) {
      return fail(ErrorKind::invalid, fmt::format("{}: parameter {} has a NUL, CR or LF", command, i + 1));
    }
    const bool plain = !param.empty() && !param.starts_with(':') && !param.contains(' ');
    if (!plain && i + 1 < params.size()) {
      return fail(ErrorKind::invalid,
                  fmt::format("{}: parameter {} is empty, has a blank or starts with a colon", command, i + 1));
    }
    line += plain ? " " : " :";
    line += param;
  }
  if (line.size() > kMaxLine - 2) {
    return fail(ErrorKind::invalid,
                fmt::format("{}: the line would have {} bytes, at most {} fit", command, line.size(), kMaxLine - 2));
  }
  return line;
}

}  // namespace talaria::irc
