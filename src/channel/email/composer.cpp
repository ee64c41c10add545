#include "channel/email/composer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/text.h"
#include "base/version.h"
#include "channel/email/codec.h"
#include "channel/email/digest.h"
#include "channel/email/header.h"
#include "channel/email/incoming.h"
#include "channel/email/loop_guard.h"
#include "channel/text_split.h"

namespace talaria::mail {
namespace {

// A name beside an address: quoted where it is ASCII, as words else.
std::string phrase(std::string_view name) {
  std::string text = encode_words(name);
  if (text.starts_with("=?")) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// Control characters beside tabs and line ends are of no use to a reader and of some to a terminal.
std::string body_text(const Reply& reply, std::string_view note) {
  std::string text = replace_invalid_utf8(fmt::format("{}{}", reply.text, note));
  std::erase_if(text, [](char c) { return is_control(c) && c != '\n' && c != '\t' && c != '\r'; });
  if (!text.ends_with('\n')) text += '\n';
  return reply.may_be_repeat ? "(may be a repeat)\n\n" + text : text;
}

std::string text_part(const Reply& reply, std::string_view note) {
  return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
         encode_quoted_printable(body_text(reply, note));
}

// RFC 2231 for names beyond ASCII.
std::string file_name(std::string_view name) {
  std::string plain = truncate_utf8(replace_invalid_utf8(name), 150);
  std::erase_if(plain, is_control);
  const bool simple =
      std::ranges::all_of(plain, [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '"' && c != '\\'; });
  if (simple) return fmt::format("filename=\"{}\"", plain);
  std::string encoded;
  for (const char c : plain) {
    const bool letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
    encoded += letter ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return "filename*=utf-8''" + encoded;
}

std::string file_part(const OutgoingFile& file) {
  const bool good = !file.type.empty() && file.type.size() <= 100 && file.type.find('/') != file.type.npos &&
                    !file.type.starts_with("multipart/") && !file.type.starts_with("message/") &&
                    std::ranges::all_of(file.type, [](char c) { return c > ' ' && c < 0x7F && c != ';' && c != ','; });
  std::string out = fmt::format(
      "Content-Type: {}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n {}\r\n\r\n",
      good ? file.type : "application/octet-stream", file_name(file.name));
  const std::string encoded = encode_base64(file.bytes);
  for (std::size_t at = 0; at < encoded.size(); at += 76) out += encoded.substr(at, 76) + "\r\n";
  return out;
}

// Long lists of ids are folded: a line of a mail has at most 998 characters (RFC 5322, 2.1.1).
std::string id_list(const std::vector<std::string>& ids) {
  std::string out;
  for (const std::string& id : ids) out += (out.empty() ? "" : "\r\n ") + id;
  return out;
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool is_address(std::string_view text) {
  const auto mailboxes = parse_mailboxes(text, 2);
  return mailboxes.size() == 1 && mailboxes.front().name.empty() && mailboxes.front().address == lower(text) &&
         text.find_first_of(" \t\r\n<>()[]\\\",:;") == text.npos && replace_invalid_utf8(text) == text;
}

std::string format_date(UnixMillis t) {
  using namespace std::chrono;
  const sys_seconds at{seconds(t / 1000)};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss clock(at - day);
  constexpr std::string_view names = "SunMonTueWedThuFriSat";
  constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  return fmt::format("{}, {} {} {} {:02}:{:02}:{:02} +0000", names.substr(weekday(day).c_encoding() * 3, 3),
                     static_cast<unsigned>(date.day()), months.substr((static_cast<unsigned>(date.month()) - 1) * 3, 3),
                     static_cast<int>(date.year()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count());
}

Composed compose(const Reply& reply, const Author& author, const std::vector<OutgoingFile>& files,
                 std::string_view note, UnixMillis now) {
  const Route& route = reply.route;
  AnswerTo answer = unpack(route.reply_to);
  if (answer.references.empty()) {  // a message of our own, perhaps into a thread
    if (auto ids = parse_message_ids(route.thread, 1); !ids.empty()) {
      answer.message_id = ids.front();
      answer.references = std::move(ids);
    }
  }
  const std::string name = digest({author.channel, author.address, fmt::format("{}", reply.outbox_id),
                                   route.conversation, route.thread, route.reply_to, reply.text});
  const std::string domain = author.address.substr(author.address.rfind('@') + 1);
  Composed mail{.message_id = fmt::format("<talaria.{}@{}>", name, domain), .bytes = {}};
  std::string& out = mail.bytes;
  const auto field = [&](std::string_view key, std::string_view value) {
    out += fmt::format("{}: {}\r\n", key, value);
  };
  field("Date", format_date(now));
  field("From", fmt::format("{} <{}>", phrase(author.name), author.address));
  field("To", fmt::format("<{}>", route.conversation));
  const bool answers = !answer.message_id.empty() || !route.reply_to.empty();
  const std::string subject =
      answer.subject.empty() ? (answers ? "(no subject)" : "A message from " + author.name) : answer.subject;
  field("Subject", encode_words(answers ? "Re: " + subject : subject));
  field("Message-ID", mail.message_id);
  if (!answer.message_id.empty()) field("In-Reply-To", answer.message_id);
  if (!answer.references.empty()) field("References", id_list(answer.references));
  field("Auto-Submitted", answers ? "auto-replied" : "auto-generated");
  field("X-Auto-Response-Suppress", "OOF, AutoReply");
  field(loop_header, author.address);
  field("User-Agent", fmt::format("Talaria/{}", program_version()));
  field("MIME-Version", "1.0");
  if (files.empty()) {
    out += text_part(reply, note);
    return mail;
  }
  // Not to be found in any part: encoded lines hold no "=_".
  const std::string boundary = "=_" + name;
  out += fmt::format("Content-Type: multipart/mixed; boundary=\"{}\"\r\n\r\n--{}\r\n{}", boundary, boundary,
                     text_part(reply, note));
  for (const OutgoingFile& file : files) out += fmt::format("\r\n--{}\r\n{}", boundary, file_part(file));
  out += fmt::format("\r\n--{}--\r\n", boundary);
  return mail;
}

}  // namespace talaria::mail
