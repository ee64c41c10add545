#include "channel/email/mime.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/email/codec.h"
#include "channel/email/html_text.h"
#include "channel/text_split.h"

namespace talaria::mail {
namespace {

std::string with_newlines(std::string text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\r') {
      if (at + 1 < text.size() && text[at + 1] == '\n') continue;
      out += '\n';
    } else {
      out += text[at];
    }
  }
  return out;
}

// format=flowed (RFC 3676): a line that ends in a blank goes on in the next one of the same depth of quotes.
std::string unflowed(std::string_view text, bool delete_space) {
  std::string out;
  int before = -1;  // depth of quotes of a line that goes on
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    const std::size_t depth = std::min(line.find_first_not_of('>'), line.size());
    std::string_view rest = line.substr(depth);
    if (rest.starts_with(' ')) rest.remove_prefix(1);
    const bool joins = before == static_cast<int>(depth);
    if (!out.empty() && !joins) out += '\n';
    if (!joins && depth > 0) out += std::string(depth, '>') + " ";
    const bool goes_on = rest.ends_with(' ') && rest != "-- ";
    before = goes_on ? static_cast<int>(depth) : -1;
    if (goes_on && delete_space) rest.remove_suffix(1);
    out += rest;
  }
  return out;
}

std::string safe_name(std::string_view name) {
  name = trim(name.substr(name.find_last_of("/\\") + 1));  // npos + 1 is 0
  std::string out = truncate_utf8(replace_invalid_utf8(name), 200);
  return out == "." || out == ".." ? "" : out;
}

struct Found {
  std::string plain, html;
};

// A line end before a boundary belongs to the boundary.
std::string_view without_line_end(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// Goes over the lines of a mail once, however deep its parts lie in each other: each line is compared with the
// boundaries of all multiparts that it is in.
class Walk {
 public:
  Walk(Mail& mail, const MimeLimits& limits, std::string_view body) : mail_(mail), limits_(limits), left_(body) {}

  // A part from the end of its header on, and the boundary behind it.
  Found part(const Header& header) {
    if (++parts_ > limits_.parts || marks_.size() > static_cast<std::size_t>(limits_.depth)) {
      mail_.cut = true;
      take_content();
      return {};
    }
    Parameters type = parse_parameters(header.get("Content-Type"));
    // RFC 2045, 5.2: what is missing or makes no sense is plain text.
    if (type.value.find('/') == type.value.npos) type.value = "text/plain";
    if (type.value.starts_with("multipart/")) {
      if (type.value == "multipart/report") mail_.report = true;
      if (const auto boundary = type.get("boundary"); !boundary.empty() && boundary.size() <= 200)
        return multipart(type.value == "multipart/alternative", boundary);
      type.value = "text/plain";
    }
    return leaf(header, type, take_content());
  }

 private:
  static constexpr std::size_t none = std::string_view::npos;

  Found multipart(bool alternative, std::string_view boundary) {
    const std::size_t level = marks_.size();
    marks_.push_back(fmt::format("--{}", boundary));
    Found found;
    take_content();  // in front of the first part
    while (ended_by_ == level && !closed_ && parts_ <= limits_.parts) {
      const Header header = take_header();
      merge(found, part(header), alternative);
    }
    marks_.pop_back();
    if (ended_by_ == level) take_content();  // behind the last part
    return found;
  }

  std::string_view take_line() {
    const std::size_t end = left_.find('\n');
    const std::string_view line = left_.substr(0, end);
    left_.remove_prefix(end == left_.npos ? left_.size() : end + 1);
    return line;
  }

  // Whether this line ends what is read; where it would be the boundary of several multiparts, of the outermost.
  bool is_boundary(std::string_view line) {
    if (!line.starts_with("--")) return false;
    for (std::size_t level = 0; level < marks_.size(); ++level) {
      if (!line.starts_with(marks_[level])) continue;
      std::string_view rest = line.substr(marks_[level].size());
      const bool last = rest.starts_with("--");
      if (last) rest.remove_prefix(2);
      if (!trim(rest).empty()) continue;
      ended_by_ = level;
      closed_ = last;
      return true;
    }
    return false;
  }

  // What lies before the next boundary, and passes over that.
  std::string_view take_content() {
    if (std::exchange(header_only_, false)) return {};
    const std::string_view all = left_;
    while (!left_.empty() && !marks_.empty()) {
      const std::size_t before = all.size() - left_.size();
      if (is_boundary(take_line())) return without_line_end(all.substr(0, before));
    }
    left_ = {};
    ended_by_ = none;  // a closing boundary is missing
    return marks_.empty() ? all : without_line_end(all);
  }

  Header take_header() {
    const std::string_view all = left_;
    std::string_view lines = all;
    for (bool whole = false; !whole;) {
      const std::size_t before = all.size() - left_.size();
      const bool end = left_.empty();
      const std::string_view line = take_line();
      header_only_ = end || is_boundary(line);
      if (end) ended_by_ = none;
      if (header_only_) lines = all.substr(0, before);
      whole = header_only_ || line.empty() || line == "\r";
    }
    return Header::take(lines);
  }

  static void merge(Found& into, Found more, bool alternative) {
    for (auto member : {&Found::plain, &Found::html}) {
      std::string& text = into.*member;
      if ((more.*member).empty()) continue;
      if (alternative || text.empty()) {
        text = std::move(more.*member);  // the last one is the best (RFC 2046, 5.1.4)
      } else {
        text += '\n';
        text += more.*member;
      }
    }
  }

  Found leaf(const Header& header, const Parameters& type, std::string_view body) {
    const Parameters disposition = parse_parameters(header.get("Content-Disposition"));
    std::string name = safe_name(disposition.get("filename"));
    if (name.empty()) name = safe_name(type.get("name"));
    const bool text = type.value == "text/plain" || type.value == "text/html";
    if (type.value == "message/delivery-status") mail_.report = true;
    std::string bytes = decoded(header, body);
    const bool shown = text && disposition.value != "attachment" && (name.empty() || disposition.value == "inline");
    if (!shown) {
      keep(std::move(name), type.value, std::move(bytes));
      return {};
    }
    if (bytes.size() > limits_.text_bytes) {
      bytes.resize(limits_.text_bytes);
      mail_.cut = true;
    }
    std::string utf8 = with_newlines(to_utf8(bytes, type.get("charset")));
    Found found;
    if (type.value == "text/html") {
      found.html = html_to_text(utf8);
    } else {
      found.plain = same_word(type.get("format"), "flowed") ? unflowed(utf8, same_word(type.get("delsp"), "yes"))
                                                            : std::move(utf8);
    }
    return found;
  }

  void keep(std::string name, std::string_view type, std::string bytes) {
    // Signatures of mail say nothing to an agent.
    if (type == "application/pgp-signature" || type == "application/pkcs7-signature") return;
    if (mail_.files.size() >= limits_.files) {
      mail_.cut = true;
      return;
    }
    if (name.empty()) name = fmt::format("part-{}", parts_);
    std::string media(type.substr(0, 100));
    const bool good = std::ranges::all_of(media, [](char c) { return c > ' ' && c < 0x7F; });
    mail_.files.push_back({std::move(name), good ? media : "application/octet-stream", std::move(bytes)});
  }

  static std::string decoded(const Header& header, std::string_view body) {
    const std::string encoding = parse_parameters(header.get("Content-Transfer-Encoding")).value;
    if (encoding == "base64") return decode_base64(body);
    if (encoding == "quoted-printable") return decode_quoted_printable(body);
    return std::string(body);
  }

  Mail& mail_;
  const MimeLimits& limits_;
  std::size_t parts_ = 0;
  std::string_view left_;  // of the body
  std::vector<std::string>
      marks_;                    // what the boundaries of the multiparts begin with that we are in, the outermost first
  std::size_t ended_by_ = none;  // whose boundary the latest one was; none: the mail's end
  bool closed_ = false;          // that was its last
  bool header_only_ = false;     // a boundary, or the mail's end, came within a header
};

}  // namespace

Mail parse_mail(std::string_view bytes, const MimeLimits& limits) {
  Mail mail;
  mail.header = Header::take(bytes);
  Found found = Walk(mail, limits, bytes).part(mail.header);
  mail.text = trim(found.plain).empty() ? std::move(found.html) : std::move(found.plain);
  return mail;
}

}  // namespace talaria::mail
