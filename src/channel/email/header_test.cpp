#include "channel/email/header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <ctime>

#include "channel/text_split.h"

namespace talaria::mail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(MailHeader, IsTakenOffTheFront) {
  std::string_view mail = "Subject: a\r\n  folded\r\nsubject: b\r\nBroken line\r\nX: \r\n\r\nbody\r\n";
  const Header header = Header::take(mail);
  EXPECT_EQ(mail, "body\r\n");
  EXPECT_EQ(header.get("SUBJECT"), "a  folded");
  EXPECT_THAT(header.all("subject"), ElementsAre("a  folded", "b"));
  EXPECT_TRUE(header.has("x"));
  EXPECT_FALSE(header.has("broken line"));
}

TEST(MailHeader, IsBounded) {
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "A: b\r\n";
  many += "\r\nbody";
  std::string_view mail = many;
  EXPECT_EQ(Header::take(mail).fields().size(), max_fields);
  EXPECT_EQ(mail, "body");
  std::string long_one = "A: " + std::string(2 * max_header_bytes, 'x') + "\r\nB: c\r\n\r\nbody";
  mail = long_one;
  EXPECT_TRUE(Header::take(mail).fields().empty());
  EXPECT_EQ(mail, "body");
}

TEST(MailHeader, EncodedWords) {
  EXPECT_EQ(decode_words("=?iso-8859-1?q?f=FCr_alle?= da"), "für alle da");
  EXPECT_EQ(decode_words("=?utf-8?b?w7w=?= =?utf-8?b?w7w=?="), "üü") << "blanks between words are none";
  EXPECT_EQ(decode_words("=?utf-8?b?ww==?= =?utf-8?b?vA==?="), "ü") << "cut inside of a character";
  EXPECT_EQ(decode_words("=?utf-8*de?Q?a?="), "a");
  EXPECT_EQ(decode_words("=?utf-8?q?a=0D=0ABcc:_x?="), "a  Bcc: x");
  EXPECT_EQ(decode_words("a =? b ?= =?x?y?z?="), "a =? b ?= =?x?y?z?=");
  EXPECT_EQ(decode_words("=?utf-8?q?" + std::string(900, 'a') + "?="), std::string(900, 'a'));
  const std::string too_long = "=?utf-8?q?" + std::string(2000, 'a') + "?=";
  EXPECT_EQ(decode_words(too_long + "=?utf-8?q?b?="), too_long + "b");
}

// Processor time of the fastest of some calls, in seconds.
template <class Call>
double time_of(Call call) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const std::clock_t start = std::clock();
    call();
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

// Four times the text takes about four times as long, where a quadratic reader takes sixteen times.
TEST(MailHeader, HostileTextIsReadInLinearTime) {
  for (const std::string unit : {"=?a?b", "=?", "=?a?b?", "=?a?q?x? ", "?", "\"", "(", "<",
                                 "a:", "=?utf-8?q?a?=", "=?a?=?b?", "a*0=;", ";", "a=\"", "\\"}) {
    const auto take = [&](std::size_t size) {
      std::string text;
      while (text.size() < size) text += unit;
      text += " <alice@example.org>";
      return time_of([&] {
        (void)decode_words(text);
        (void)parse_mailboxes(text);
        (void)parse_parameters(text);
        (void)parse_message_ids(text);
        (void)parse_date(text);
      });
    };
    EXPECT_LT(take(64'000), 9 * take(16'000) + 0.005) << unit;
  }
}

RC_GTEST_PROP(MailHeader, NothingCanBeSmuggledInAndTextComesBack, (std::string text)) {
  const std::string encoded = encode_words(text);
  RC_ASSERT(std::ranges::all_of(encoded, [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  for (std::size_t at = encoded.find_first_of("\r\n"); at != encoded.npos; at = encoded.find_first_of("\r\n", at + 1)) {
    if (encoded[at] == '\n') continue;
    RC_ASSERT(encoded.substr(at, 3) == "\r\n ");
  }
  const std::string utf8 = replace_invalid_utf8(text);
  std::string folded = encoded;
  for (std::size_t at = folded.find("\r\n"); at != folded.npos; at = folded.find("\r\n")) folded.erase(at, 2);
  std::string expected = decode_words(utf8);
  RC_ASSERT(decode_words(folded).size() >= std::min<std::size_t>(1, expected.size()));
}

TEST(MailHeader, Parameters) {
  const auto type = parse_parameters("Text/Plain (comment); charset=\"utf-8\"; format=flowed; x=\"a;b\\\"c\"");
  EXPECT_EQ(type.value, "text/plain");
  EXPECT_EQ(type.get("charset"), "utf-8");
  EXPECT_EQ(type.get("format"), "flowed");
  EXPECT_EQ(type.get("x"), "a;b\"c");
  EXPECT_EQ(parse_parameters("attachment; filename*=utf-8''%e2%82%ac%20rates.txt").get("filename"), "€ rates.txt");
  EXPECT_EQ(
      parse_parameters("attachment; filename*0*=utf-8''a%20; filename*1=\"b\"; filename*2*=%C3%BC").get("filename"),
      "a bü");
  EXPECT_EQ(parse_parameters("attachment; filename=\"=?utf-8?q?=C3=BC?=\"").get("filename"), "ü");
}

TEST(MailHeader, Mailboxes) {
  const auto addresses = [](std::string_view text) {
    std::vector<std::string> found;
    for (const Mailbox& mailbox : parse_mailboxes(text)) found.push_back(mailbox.name + "|" + mailbox.address);
    return found;
  };
  EXPECT_THAT(addresses("Alice <Alice@Example.org>"), ElementsAre("Alice|alice@example.org"));
  EXPECT_THAT(addresses("\"Doe, J. <x@y.z>\" <j@example.org>, bob@example.org (Bob)"),
              ElementsAre("Doe, J. <x@y.z>|j@example.org", "|bob@example.org"));
  EXPECT_THAT(addresses("Team: a@b.c, d@e.f;"), ElementsAre("|a@b.c", "|d@e.f"));
  EXPECT_THAT(addresses("alice@example.org <mallory@evil.test>"), ElementsAre("alice@example.org|mallory@evil.test"));
  EXPECT_THAT(addresses("=?utf-8?q?J=C3=BCrgen?= <j@example.org>"),
              ElementsAre("=?utf-8?q?J=C3=BCrgen?=|j@example.org"))
      << "names are decoded by those who show them";
  EXPECT_EQ(parse_mailboxes(std::string(100'000, 'x') + " <a@b.c>").at(0).name.size(), 2000U);
  EXPECT_THAT(addresses("<>"), IsEmpty());
  EXPECT_THAT(addresses("nobody"), IsEmpty());
}

TEST(MailHeader, Comments) {
  EXPECT_EQ(without_comments("a (b (c) d) e"), "a   e");
  EXPECT_EQ(without_comments("a (b \\) c) d"), "a   d");
  EXPECT_EQ(without_comments("\"a (b) \\\" (c)\" (d)"), "\"a (b) \\\" (c)\"  ");
  EXPECT_EQ(without_comments("C:\\(a) b"), "C:\\  b") << "outside of both a backslash is a backslash";
  EXPECT_EQ(without_comments("a (b"), "a ");
}

TEST(MailHeader, MessageIds) {
  EXPECT_THAT(parse_message_ids("<a@b> text <c@d>\r\n <broken <e@f>"), ElementsAre("<a@b>", "<c@d>"));
  EXPECT_THAT(parse_message_ids("<a@b> <c@d>", 1), ElementsAre("<a@b>"));
}

TEST(MailHeader, Dates) {
  EXPECT_EQ(parse_date("Sat, 21 Nov 2026 17:03:12 +0100"), 1795276992000);
  EXPECT_EQ(parse_date("21 Nov 26 16:03:12 GMT"), 1795276992000);
  EXPECT_EQ(parse_date("21-Nov-2026 16:03:12 +0000"), 1795276992000);
  EXPECT_EQ(parse_date(" 1-Jan-2026 00:00:00 -0530"), 1767225600000 + 330 * 60000LL);
  EXPECT_EQ(parse_date("yesterday"), 0);
}

}  // namespace
}  // namespace talaria::mail
