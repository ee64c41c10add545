#include "channel/email/header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "channel/email/codec.h"
#include "channel/text_split.h"

namespace talaria::mail {
namespace {

std::string clean(std::string text) {
  std::ranges::replace_if(text, is_control, ' ');
  return text;
}

// One encoded word, "=?charset?q?text?=", whole.
struct Word {
  std::string charset, bytes;
};
std::optional<Word> parse_word(std::string_view text) {
  text.remove_prefix(2);
  text.remove_suffix(2);
  const std::size_t first = text.find('?');
  const std::size_t second = first == text.npos ? text.npos : text.find('?', first + 1);
  if (second != first + 2 || first == text.npos) return std::nullopt;
  std::string_view charset = text.substr(0, first);
  charset = charset.substr(0, charset.find('*'));  // a language may follow (RFC 2231, 5)
  std::string payload(text.substr(second + 1));
  switch (text[first + 1]) {
    case 'b':
    case 'B': return Word{std::string(charset), decode_base64(payload)};
    case 'q':
    case 'Q':
      std::ranges::replace(payload, '_', ' ');
      return Word{std::string(charset), decode_quoted_printable(payload + "=")};
    default: return std::nullopt;
  }
}

// RFC 2047 allows 75 bytes of a word, and not everybody keeps to it.
constexpr std::size_t longest_word = 1000;
constexpr std::size_t longest_name = 2000;             // of a mailbox
constexpr std::size_t longest_parameters = 16 * 1024;  // all of one field

// Finds where encoded words end. Their beginnings are asked for in ascending order, so the text is passed over once,
// however many there are.
class WordEnds {
 public:
  explicit WordEnds(std::string_view text) : text_(text) {}
  // Of the one that begins at `at`; npos: there is none.
  std::size_t of(std::size_t at) {
    const std::string_view near = text_.substr(at, longest_word);
    std::size_t mark = near.substr(0, 64).find('?', 2);
    if (mark == near.npos) return near.npos;
    mark = near.find('?', mark + 1);
    if (mark == near.npos) return near.npos;
    if (close_ != text_.npos && close_ < at + mark + 1) close_ = text_.find("?=", at + mark + 1);
    return close_ == text_.npos || close_ - at > longest_word ? text_.npos : close_ + 2;
  }

 private:
  std::string_view text_;
  std::size_t close_ = 0;  // the latest mark of an end that was found; npos: there are no more
};

int two_digits(std::string_view text) {
  int value = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size() ? value : -1;
}

std::string percent_decoded(std::string_view text) {
  std::string as_qp(text);
  std::string out;
  for (std::size_t at = 0; at < as_qp.size(); ++at) {
    int value = 0;
    if (as_qp[at] == '%' && at + 2 < as_qp.size() + 0 &&
        std::from_chars(&as_qp[at + 1], &as_qp[at + 1] + 2, value, 16).ptr == &as_qp[at + 1] + 2) {
      out += static_cast<char>(value);
      at += 2;
    } else {
      out += as_qp[at];
    }
  }
  return out;
}

// Reads a quoted string whose opening quote is at `at`; moves `at` behind it.
std::string take_quoted(std::string_view text, std::size_t& at) {
  std::string out;
  for (++at; at < text.size(); ++at) {
    if (text[at] == '"') {
      ++at;
      break;
    }
    if (text[at] == '\\' && at + 1 < text.size()) ++at;
    out += text[at];
  }
  return out;
}

}  // namespace

Header Header::take(std::string_view& mail) {
  Header header;
  std::size_t used = 0;
  while (!mail.empty()) {
    const std::size_t end = mail.find('\n');
    std::string_view line = mail.substr(0, end);
    mail.remove_prefix(end == mail.npos ? mail.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    used += line.size();
    if (used > max_header_bytes) continue;  // passed over, up to the body
    if (line.front() == ' ' || line.front() == '\t') {
      if (!header.fields_.empty()) header.fields_.back().value += line;
      continue;
    }
    const std::size_t colon = line.find(':');
    if (colon == line.npos || colon == 0 || header.fields_.size() >= max_fields) continue;
    header.fields_.push_back({std::string(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1)))});
  }
  return header;
}

std::string_view Header::get(std::string_view name) const {
  for (const HeaderField& field : fields_) {
    if (same_word(field.name, name)) return field.value;
  }
  return {};
}

std::vector<std::string_view> Header::all(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const HeaderField& field : fields_) {
    if (same_word(field.name, name)) found.push_back(field.value);
  }
  return found;
}

bool Header::has(std::string_view name) const {
  return std::ranges::any_of(fields_, [&](const HeaderField& field) { return same_word(field.name, name); });
}

std::string decode_words(std::string_view text) {
  std::string out;
  std::string pending;  // bytes of neighbouring words: a character may be cut between two
  std::string charset;
  const auto flush = [&] {
    if (!pending.empty()) out += to_utf8(pending, charset);
    pending.clear();
  };
  WordEnds ends(text);
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t start = text.find("=?", at);
    const std::size_t end = start == text.npos ? text.npos : ends.of(start);
    const auto word = end == text.npos ? std::nullopt : parse_word(text.substr(start, end - start));
    if (!word) {
      flush();
      const std::size_t stop = start == text.npos ? text.size() : start + 2;
      out += to_utf8(text.substr(at, stop - at), "");
      at = stop;
      continue;
    }
    const std::string_view between = text.substr(at, start - at);
    if (pending.empty() || !trim(between).empty()) {
      flush();
      out += to_utf8(between, "");
    }
    if (!same_word(charset, word->charset)) flush();
    charset = word->charset;
    pending += word->bytes;
    at = end;
  }
  flush();
  return clean(std::move(out));
}

std::string encode_words(std::string_view text) {
  const std::string plain = clean(replace_invalid_utf8(text));
  const bool ascii = std::ranges::all_of(plain, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii && plain.find("=?") == plain.npos && plain.size() <= 900) return plain;
  std::string out;
  // 45 bytes are 60 characters of base64 and 12 around them; cuts fall between characters.
  for (std::string_view left = plain; !left.empty();) {
    std::size_t size = std::min<std::size_t>(45, left.size());
    while (size < left.size() && size > 0 && (static_cast<unsigned char>(left[size]) & 0xC0) == 0x80) --size;
    if (!out.empty()) out += "\r\n ";
    out += fmt::format("=?utf-8?b?{}?=", encode_base64(left.substr(0, size)));
    left.remove_prefix(size);
  }
  return out;
}

std::string_view Parameters::get(std::string_view name) const {
  const auto found = named.find(std::string(name));
  return found == named.end() ? std::string_view() : std::string_view(found->second);
}

FieldScan::In FieldScan::step(char c) {
  const bool inside = quoted_ || depth_ > 0;
  const In enclosed = quoted_ ? In::quotation : In::comment;
  if (std::exchange(escaped_, false)) return enclosed;
  escaped_ = inside && c == '\\';
  if (quoted_) {
    quoted_ = escaped_ || c != '"';
    return enclosed;
  }
  if (c == '(' && !escaped_) {
    ++depth_;
    return In::comment;
  }
  if (depth_ > 0) {
    if (c == ')') --depth_;
    return enclosed;
  }
  if (c == '"') {
    quoted_ = true;
    return In::quotation;
  }
  stray_ = stray_ || c == ')' || c == '\\';
  return In::text;
}

std::string without_comments(std::string_view text) {
  std::string out;
  FieldScan scan;
  for (const char c : text) {
    if (scan.step(c) != FieldScan::In::comment) {
      out += c;
    } else if (!scan.in_comment()) {
      out += ' ';
    }
  }
  return out;
}

Parameters parse_parameters(std::string_view raw) {
  const std::string text = without_comments(raw.substr(0, longest_parameters));
  Parameters out;
  struct Piece {
    std::string value;
    bool encoded = false;
  };
  std::map<std::string, std::map<int, Piece>> pieces;  // RFC 2231: name → its parts by number
  std::size_t at = std::min(text.find(';'), text.size());
  out.value = lower(trim(std::string_view(text).substr(0, at)));
  while (at < text.size() && pieces.size() < 50) {
    at = text.find_first_not_of("; \t\r\n", at);
    if (at == text.npos) break;
    const std::size_t equals = text.find_first_of("=;", at);
    if (equals == text.npos) break;
    if (text[equals] == ';') {
      at = equals;
      continue;
    }
    std::string name = lower(trim(std::string_view(text).substr(at, equals - at)));
    at = std::min(text.find_first_not_of(" \t", equals + 1), text.size());
    std::string value;
    if (at < text.size() && text[at] == '"') {
      value = take_quoted(text, at);
      at = std::min(text.find(';', at), text.size());
    } else {
      const std::size_t end = std::min(text.find(';', at), text.size());
      value = trim(std::string_view(text).substr(at, end - at));
      at = end;
    }
    Piece piece{std::move(value)};
    int number = 0;
    if (name.ends_with('*')) {
      piece.encoded = true;
      name.pop_back();
    }
    if (const std::size_t star = name.find('*'); star != name.npos) {
      number = two_digits(std::string_view(name).substr(star + 1));
      if (number < 0 || number > 99) continue;
      name.resize(star);
    }
    if (!name.empty()) pieces[name].try_emplace(number, std::move(piece));
  }
  for (auto& [name, parts] : pieces) {
    std::string charset;
    std::string bytes;
    bool encoded = false;
    for (auto& [number, piece] : parts) {
      std::string_view value = piece.value;
      if (piece.encoded && number == parts.begin()->first) {
        // "charset'language'value"
        const std::size_t first = value.find('\'');
        const std::size_t second = first == value.npos ? value.npos : value.find('\'', first + 1);
        if (second != value.npos) {
          charset = value.substr(0, first);
          value.remove_prefix(second + 1);
        }
      }
      encoded = encoded || piece.encoded;
      bytes += piece.encoded ? percent_decoded(value) : std::string(value);
    }
    out.named[name] = encoded ? clean(to_utf8(bytes, charset)) : decode_words(bytes);
  }
  return out;
}

std::vector<Mailbox> parse_mailboxes(std::string_view raw, std::size_t most) {
  std::vector<Mailbox> found;
  const std::string text = without_comments(raw);
  std::string phrase;
  std::string angle;
  bool in_angle = false;
  const auto finish = [&] {
    std::string address(trim(angle.empty() ? std::string_view(phrase) : std::string_view(angle)));
    std::erase_if(address, [](char c) { return c == ' ' || c == '\t'; });
    // A source route, "<@a,@b:local@domain>", is obsolete: what counts is behind it.
    if (address.starts_with('@')) address.erase(0, std::min(address.find(':') + 1, address.size()));
    const std::size_t at = address.rfind('@');
    const bool good = at != address.npos && at > 0 && at + 1 < address.size() && address.size() <= 254 &&
                      std::ranges::none_of(address, is_control) && address.find_first_of("<>\",;()") == address.npos;
    if (good && found.size() < most)
      found.push_back({angle.empty() ? "" : std::string(trim(phrase).substr(0, longest_name)), lower(address)});
    phrase.clear();
    angle.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      std::string quoted = take_quoted(text, at);
      (in_angle ? angle : phrase) += quoted;
      continue;
    }
    ++at;
    if (c == '<') {
      in_angle = true;
      angle.clear();
    } else if (c == '>') {
      in_angle = false;
    } else if (in_angle) {
      angle += c;
    } else if (c == ',' || c == ';') {
      finish();
    } else if (c == ':') {
      phrase.clear();  // the name of a group
    } else {
      phrase += c;
    }
  }
  finish();
  return found;
}

std::vector<std::string> parse_message_ids(std::string_view text, std::size_t most) {
  std::vector<std::string> ids;
  for (std::size_t at = text.find('<'); at != text.npos && ids.size() < most; at = text.find('<', at)) {
    const std::size_t end = text.find('>', at);
    if (end == text.npos) break;
    std::string id(text.substr(at, end - at + 1));
    std::erase_if(id, [](char c) { return is_control(c) || c == ' '; });
    const bool good = id.size() > 2 && id.size() <= 500 && id.find('<', 1) == id.npos &&
                      std::ranges::all_of(id, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (good) ids.push_back(std::move(id));
    at = end;
  }
  return ids;
}

std::int64_t parse_date(std::string_view raw) {
  std::string text = without_comments(raw);
  if (const std::size_t comma = text.find(','); comma != text.npos) text.erase(0, comma + 1);
  // IMAP writes "21-Nov-2026"; the zone may be "-0500".
  for (std::size_t at = 1; at < text.size() && at < 14; ++at) {
    if (text[at] == '-') text[at] = ' ';
  }
  std::array<std::string_view, 5> words;
  std::string_view left = text;
  for (std::string_view& word : words) {
    left = trim(left);
    word = left.substr(0, left.find_first_of(" \t"));
    left.remove_prefix(word.size());
  }
  constexpr std::string_view months = "janfebmaraprmayjunjulaugsepoctnovdec";
  const std::string month = lower(words[1].substr(0, 3));
  const std::size_t place = months.find(month);
  const int day = two_digits(words[0]);
  int year = two_digits(words[2]);
  if (year >= 0 && year < 50 && words[2].size() == 2) year += 2000;
  if (year >= 50 && year < 100) year += 1900;
  if (month.size() != 3 || place == months.npos || place % 3 != 0 || day < 1 || day > 31 || year < 1970 || year > 9999)
    return 0;
  const std::string_view clock = words[3];
  if (clock.size() < 5 || clock[2] != ':') return 0;
  const int hour = two_digits(clock.substr(0, 2));
  const int minute = two_digits(clock.substr(3, 2));
  const int second = clock.size() >= 8 ? two_digits(clock.substr(6, 2)) : 0;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return 0;
  int zone = 0;  // minutes; unknown names count as UTC (RFC 5322, 4.3)
  if (words[4].size() == 5 && (words[4][0] == '+' || words[4][0] == '-')) {
    const int hours = two_digits(words[4].substr(1, 2));
    const int minutes = two_digits(words[4].substr(3, 2));
    if (hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60) zone = hours * 60 + minutes;
    if (words[4][0] == '-') zone = -zone;
  }
  using namespace std::chrono;
  const sys_days date = std::chrono::year(year) / static_cast<int>(place / 3 + 1) / day;
  return duration_cast<milliseconds>(date.time_since_epoch()).count() +
         ((hour * 60 + minute - zone) * 60LL + second) * 1000;
}

}  // namespace talaria::mail
