#include "channel/email/html_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "channel/email/codec.h"

namespace talaria::mail {
namespace {

using namespace std::string_view_literals;

constexpr int deepest_quote = 10;

constexpr std::pair<std::string_view, std::string_view> entities[] = {
    {"amp", "&"},   {"lt", "<"},     {"gt", ">"},     {"quot", "\""},  {"apos", "'"},   {"nbsp", " "},
    {"auml", "ä"},  {"ouml", "ö"},   {"uuml", "ü"},   {"Auml", "Ä"},   {"Ouml", "Ö"},   {"Uuml", "Ü"},
    {"szlig", "ß"}, {"eacute", "é"}, {"egrave", "è"}, {"agrave", "à"}, {"ccedil", "ç"}, {"euro", "€"},
    {"copy", "©"},  {"reg", "®"},    {"hellip", "…"}, {"mdash", "—"},  {"ndash", "–"},  {"lsquo", "‘"},
    {"rsquo", "’"}, {"ldquo", "“"},  {"rdquo", "”"},  {"bull", "•"},   {"middot", "·"}, {"laquo", "«"},
    {"raquo", "»"}, {"times", "×"},  {"zwnj", ""},    {"zwj", ""},     {"shy", ""},     {"deg", "°"},
};

void append_utf8(std::string& out, std::uint32_t c) {
  if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// The character reference at the front of `text` (behind the "&"); how long it is, with its semicolon. 0: none.
std::size_t take_entity(std::string_view text, std::string& out) {
  const std::size_t end = text.substr(0, 12).find(';');
  if (end == text.npos || end == 0) return 0;
  const std::string_view name = text.substr(0, end);
  if (name.front() == '#') {
    const bool hex = name.size() > 1 && (name[1] == 'x' || name[1] == 'X');
    const std::string_view digits = name.substr(hex ? 2 : 1);
    std::uint32_t code = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
    if (error != std::errc{} || stop != digits.data() + digits.size()) return 0;
    append_utf8(out, code == 0xA0 ? ' ' : code);
    return end + 1;
  }
  for (const auto& [known, character] : entities) {
    if (known == name) {
      out += character;
      return end + 1;
    }
  }
  return 0;
}

std::string decode_entities(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::size_t used = text[at] == '&' ? take_entity(text.substr(at + 1), out) : 0;
    if (used == 0) out += text[at];
    at += used;
  }
  return out;
}

// The value of one attribute in the inside of a tag; empty: it is not there.
std::string attribute(std::string_view tag, std::string_view name) {
  const std::string small = lower(tag);
  for (std::size_t at = small.find(name); at != small.npos; at = small.find(name, at + 1)) {
    std::size_t next = at + name.size();
    if (at == 0 || std::string_view(" \t\r\n").find(small[at - 1]) == std::string_view::npos) continue;
    while (next < small.size() && small[next] == ' ') ++next;
    if (next >= small.size() || small[next] != '=') continue;
    ++next;
    while (next < small.size() && small[next] == ' ') ++next;
    if (next >= small.size()) return {};
    const char quote = small[next];
    if (quote == '"' || quote == '\'') {
      const std::size_t end = std::min(tag.find(quote, next + 1), tag.size());
      return decode_entities(tag.substr(next + 1, end - next - 1));
    }
    return decode_entities(tag.substr(next, tag.find_first_of(" \t\r\n>", next) - next));
  }
  return {};
}

// Builds lines: blanks collapse outside of <pre>, at most one empty line in a row, each line behind its marks.
class Lines {
 public:
  void text(std::string_view piece, bool verbatim) {
    for (const char c : piece) {
      if (verbatim && c == '\n') {
        break_line();
      } else if (!verbatim && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
        if (!line_.empty() && line_.back() != ' ') line_ += ' ';
      } else if (c != '\r') {
        line_ += c;
      }
    }
  }
  void break_line() {
    while (line_.ends_with(' ')) line_.pop_back();
    if (line_.empty()) {
      if (empties_ > 0 || out_.empty()) return;
      ++empties_;
    } else {
      empties_ = 0;
    }
    for (int i = 0; i < quotes_; ++i) out_ += "> ";
    out_ += line_;
    out_ += '\n';
    line_.clear();
  }
  void start_block() {
    if (!trim(line_).empty()) break_line();
    line_.clear();
  }
  void paragraph() {
    start_block();
    break_line();
  }
  void quote(int by) {
    start_block();
    quotes_ = std::clamp(quotes_ + by, 0, deepest_quote);
  }
  std::string finish() {
    start_block();
    while (out_.ends_with("\n\n")) out_.pop_back();
    return std::move(out_);
  }

 private:
  std::string out_, line_;
  int quotes_ = 0;
  int empties_ = 0;
};

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

class Reader {
 public:
  explicit Reader(std::string_view html) : html_(html) {}

  std::string run() {
    while (at_ < html_.size()) {
      const std::size_t tag = std::min(html_.find('<', at_), html_.size());
      lines_.text(decode_entities(html_.substr(at_, tag - at_)), verbatim_ > 0);
      at_ = tag;
      if (at_ < html_.size()) take_tag();
    }
    return lines_.finish();
  }

 private:
  void take_tag() {
    if (html_.substr(at_).starts_with("<!--")) {
      skip_past("-->", 4);
      return;
    }
    const char next = at_ + 1 < html_.size() ? html_[at_ + 1] : ' ';
    const bool letter = (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z');
    if (!letter && next != '/' && next != '!' && next != '?') {
      lines_.text("<", false);
      ++at_;
      return;
    }
    const std::size_t end = tag_end();
    std::string_view inside = html_.substr(at_ + 1, end - at_ - 1);
    at_ = std::min(end + 1, html_.size());
    const bool closes = inside.starts_with('/');
    if (closes) inside.remove_prefix(1);
    const std::string name = lower(inside.substr(0, inside.find_first_of(" \t\r\n/")));
    on_tag(name, closes, inside);
  }

  // A ">" in a quoted attribute does not end the tag.
  [[nodiscard]] std::size_t tag_end() const {
    char quote = '\0';
    const std::size_t limit = std::min(html_.size(), at_ + 64 * 1024);
    for (std::size_t at = at_ + 1; at < limit; ++at) {
      const char c = html_[at];
      if (quote != '\0') {
        if (c == quote) quote = '\0';
      } else if (c == '"' || c == '\'') {
        if (html_[at - 1] == '=') quote = c;
      } else if (c == '>') {
        return at;
      }
    }
    return std::min(html_.find('>', at_), html_.size());
  }

  void skip_past(std::string_view mark, std::size_t from) {
    const std::size_t end = html_.find(mark, std::min(at_ + from, html_.size()));
    at_ = end == html_.npos ? html_.size() : end + mark.size();
  }

  void on_tag(const std::string& name, bool closes, std::string_view inside) {
    if (!closes && one_of(name, {"script", "style", "head", "title"})) {
      const std::size_t end = find_close(name);
      at_ = end;
    } else if (name == "br" || name == "hr") {
      lines_.break_line();
    } else if (one_of(name, {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table"})) {
      lines_.paragraph();
    } else if (name == "pre") {
      verbatim_ = std::max(0, verbatim_ + (closes ? -1 : 1));
      lines_.start_block();
    } else if (name == "blockquote") {
      lines_.quote(closes ? -1 : 1);
    } else if (name == "li") {
      lines_.start_block();
      if (!closes) lines_.text("- ", true);
    } else if (name == "td" || name == "th") {
      lines_.text(" ", false);
    } else if (one_of(name, {"div", "tr", "section", "article", "header", "footer", "body", "html", "dt", "dd"})) {
      lines_.start_block();
    } else if (name == "a" && !closes) {
      link_ = attribute(inside, "href");
      link_from_ = at_;
    } else if (name == "a" && !link_.empty()) {
      const std::string shown =
          decode_entities(html_.substr(link_from_, std::min<std::size_t>(at_ - link_from_, 2000)));
      const bool web = link_.starts_with("http://") || link_.starts_with("https://");
      if (web && link_.size() <= 2000 && shown.find(link_) == shown.npos) lines_.text(" <" + link_ + ">", false);
      link_.clear();
    } else if (name == "img" && !closes) {
      lines_.text(attribute(inside, "alt"), false);
    }
  }

  // Where "</name" begins; each name is searched for from its place at most once, for lack of it the text ends there.
  [[nodiscard]] std::size_t find_close(std::string_view name) const {
    for (std::size_t at = html_.find("</", at_); at != html_.npos; at = html_.find("</", at + 2)) {
      if (same_word(html_.substr(at + 2, name.size()), name)) return at;
    }
    return html_.size();
  }

  std::string_view html_;
  std::size_t at_ = 0;
  Lines lines_;
  int verbatim_ = 0;
  std::string link_;
  std::size_t link_from_ = 0;
};

}  // namespace

std::string html_to_text(std::string_view html) { return Reader(html).run(); }

}  // namespace talaria::mail
