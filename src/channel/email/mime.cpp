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

class Walk {
 public:
  Walk(Mail& mail, const MimeLimits& limits) : mail_(mail), limits_(limits) {}

  Found part(const Header& header, std::string_view body, int depth) {
    if (++parts_ > limits_.parts || depth > limits_.depth) {
      mail_.cut = true;
      return {};
    }
    Parameters type = parse_parameters(header.get("Content-Type"));
    // RFC 2045, 5.2: what is missing or makes no sense is plain text.
    if (type.value.find('/') == type.value.npos) type.value = "text/plain";
    if (type.value.starts_with("multipart/")) {
      if (type.value == "multipart/report") mail_.report = true;
      if (const auto boundary = type.get("boundary"); !boundary.empty() && boundary.size() <= 200)
        return multipart(type.value == "multipart/alternative", boundary, body, depth);
      type.value = "text/plain";
    }
    return leaf(header, type, body);
  }

 private:
  Found multipart(bool alternative, std::string_view boundary, std::string_view body, int depth) {
    const std::string mark = fmt::format("--{}", boundary);
    Found found;
    std::string_view piece;
    bool inside = false;
    const auto close = [&](std::size_t length) {
      if (!inside) return;
      std::string_view content = piece.substr(0, length);
      // The line end before the boundary belongs to the boundary.
      if (content.ends_with('\n')) content.remove_suffix(1);
      if (content.ends_with('\r')) content.remove_suffix(1);
      const Header header = Header::take(content);
      merge(found, part(header, content, depth + 1), alternative);
    };
    std::size_t start = 0;  // of the part in `body`
    for (std::size_t at = 0; at < body.size();) {
      if (parts_ > limits_.parts) {
        mail_.cut = true;
        return found;
      }
      const std::size_t end = std::min(body.find('\n', at), body.size());
      std::string_view line = body.substr(at, end - at);
      if (line.starts_with(mark)) {
        std::string_view rest = line.substr(mark.size());
        const bool last = rest.starts_with("--");
        if (last) rest.remove_prefix(2);
        if (trim(rest).empty()) {
          close(at - start);
          if (last) return found;
          inside = true;
          start = std::min(end + 1, body.size());
          piece = body.substr(start);
        }
      }
      at = end + 1;
    }
    close(piece.size());  // the closing boundary is missing
    return found;
  }

  static void merge(Found& into, Found more, bool alternative) {
    for (auto member : {&Found::plain, &Found::html}) {
      std::string& text = into.*member;
      if ((more.*member).empty()) continue;
      if (alternative) {
        text = std::move(more.*member);  // the last one is the best (RFC 2046, 5.1.4)
      } else {
        if (!text.empty()) text += '\n';
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
};

}  // namespace

Mail parse_mail(std::string_view bytes, const MimeLimits& limits) {
  Mail mail;
  mail.header = Header::take(bytes);
  Found found = Walk(mail, limits).part(mail.header, bytes, 0);
  mail.text = trim(found.plain).empty() ? std::move(found.html) : std::move(found.plain);
  return mail;
}

}  // namespace talaria::mail
