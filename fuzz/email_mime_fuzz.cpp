// A mail from anybody, all the way to what the gateway is told, and the answer to it: whatever comes in, text is UTF-8
// without NUL bytes, limits hold, the answer has the header that it should have and no other, and nobody vouches for
// themselves.

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "channel/email/codec.h"
#include "channel/email/composer.h"
#include "channel/email/incoming.h"
#include "channel/email/loop_guard.h"
#include "channel/text_split.h"

using namespace talaria;
using namespace talaria::mail;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void check_text(const std::string& text) {
  check(replace_invalid_utf8(text) == text);
  check(text.find('\0') == text.npos);
}

void check_answer(const Route& route, const std::string& text) {
  const auto mail = compose({.outbox_id = 1, .route = route, .text = text},
                            {.address = "bot@example.org", .name = text, .channel = "mail"}, {{text, text, text}}, text,
                            1'700'000'000'000);
  std::string_view view = mail.bytes;
  const Header header = Header::take(view);
  check(header.all("To").size() == 1 && header.all("From").size() == 1 && header.all("Message-ID").size() == 1);
  for (const HeaderField& field : header.fields())
    check(field.name != "Bcc" && field.name != "Cc" && field.name.find(' ') == field.name.npos);
  check(automatic(header, "other@example.org").has_value());
  check(parse_mail(mail.bytes).files.size() == 1);
}

// A server's verdict says the same whatever the writer of a mail has chosen for what is quoted and commented in it, and
// nothing beside a failure hides it.
void check_verdict(std::string text) {
  std::ranges::replace_if(text, is_control, ' ');
  std::string quoted;
  for (const char c : text) {
    if (std::string_view("\"\\()").contains(c)) quoted += '\\';
    quoted += c;
  }
  const auto believed = [](const std::string& results) {
    const std::string mail = "Authentication-Results: mx.example.org; " + results + "\n\n";
    std::string_view view = mail;
    return check_authentication(Header::take(view), "mx.example.org", "example.org").has_value();
  };
  const std::string verdict =
      "spf=pass (of " + quoted + ") smtp.mailfrom=\"" + quoted + "\"@evil.test; \"" + quoted + "\"";
  check(!believed(verdict) && believed(verdict + "; dmarc=pass header.from=example.org"));
  check(!believed(text + "; dmarc=fail") && !believed("dmarc=fail; " + text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Mail mail = parse_mail(input);
  check_text(mail.text);
  check(mail.files.size() <= MimeLimits{}.files);
  for (const File& file : mail.files) check(file.name.find('/') == file.name.npos && !file.name.empty());
  const IncomingRules rules{
      .channel = "mail",
      .own_address = "bot@example.org",
      .sender = {.verify = false, .trusted_authserv = "mx.example.org", .allow = {"domain:example.org"}, .admins = {}}};
  (void)check_authentication(mail.header, "mx.example.org", "example.org");
  check_verdict(std::string(input.substr(0, 10'000)));
  auto read = read_mail(
      {.uid = 1, .bytes = std::string(input), .size = static_cast<std::int64_t>(size), .received_at = 1}, rules);
  if (const auto* in = std::get_if<Incoming>(&read)) {
    check_text(in->event.text);
    check(!in->event.text.empty() && !in->event.message_id.empty());
    check(in->event.route.conversation.ends_with("@example.org"));
    check_answer(in->event.route, in->event.text);
  }
  check_answer({.channel = "mail",
                .conversation = "alice@example.org",
                .thread = std::string(input),
                .reply_to = std::string(input)},
               std::string(input));
  return 0;
}
