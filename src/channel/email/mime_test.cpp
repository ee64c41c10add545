#include "channel/email/mime.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "channel/email/html_text.h"
#include "channel/email/quote.h"

namespace talaria::mail {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

// Line ends as in a mail.
std::string crlf(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\n' ? "\r\n" : std::string(1, c);
  return out;
}

constexpr std::string_view mixed = R"(From: alice@example.org
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary="inner"

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

f=FCr dich
--inner
Content-Type: text/html

<p>rich</p>
--inner--
--outer
Content-Type: image/png; name="../../etc/a.png"
Content-Transfer-Encoding: base64
Content-Disposition: attachment

iVBORw==
--outer
Content-Type: text/plain
Content-Disposition: attachment; filename=notes.txt

my notes
--outer--
epilogue
)";

TEST(Mime, PlainTextAndFiles) {
  const Mail mail = parse_mail(crlf(mixed));
  EXPECT_EQ(mail.text, "für dich");
  ASSERT_THAT(mail.files, SizeIs(2));
  EXPECT_EQ(mail.files[0].name, "a.png");
  EXPECT_EQ(mail.files[0].type, "image/png");
  EXPECT_EQ(mail.files[0].bytes, "\x89PNG");
  EXPECT_EQ(mail.files[1].name, "notes.txt");
  EXPECT_EQ(mail.files[1].bytes, "my notes");
  EXPECT_FALSE(mail.cut);
}

TEST(Mime, HtmlWhereThereIsNothingElse) {
  const Mail mail = parse_mail("Content-Type: text/html; charset=utf-8\r\n\r\n<b>Hi</b>&nbsp;you<br>there");
  EXPECT_EQ(mail.text, "Hi you\nthere\n");
}

TEST(Mime, WithoutAnyHeader) {
  EXPECT_EQ(parse_mail("\r\nhello").text, "hello");
  EXPECT_EQ(parse_mail("").text, "");
}

TEST(Mime, FlowedTextIsJoined) {
  const Mail mail =
      parse_mail("Content-Type: text/plain; format=flowed\r\n\r\na long \r\nline\r\n> quoted \r\n> too\r\n-- \r\nme");
  EXPECT_EQ(mail.text, "a long line\n> quoted too\n-- \nme");
}

TEST(Mime, AMissingEndIsNoLoss) {
  const Mail mail =
      parse_mail("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n--b\r\n\r\nsecond");
  EXPECT_EQ(mail.text, "first\nsecond");
}

TEST(Mime, ABoundaryThatBeginsLikeAnotherIsNotIt) {
  const Mail mail =
      parse_mail("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--bb\r\ntwo\r\n--b--\r\n");
  EXPECT_EQ(mail.text, "one\n--bb\ntwo");
}

TEST(Mime, HostileTreesAreBounded) {
  std::string deep;
  for (int i = 0; i < 1000; ++i)
    deep +=
        "Content-Type: multipart/mixed; boundary=b" + std::to_string(i) + "\r\n\r\n--b" + std::to_string(i) + "\r\n";
  EXPECT_TRUE(parse_mail(deep).cut);
  std::string wide = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
  for (int i = 0; i < 100'000; ++i) wide += "--b\r\nContent-Type: a/b\r\n\r\nx\r\n";
  const Mail mail = parse_mail(wide);
  EXPECT_TRUE(mail.cut);
  EXPECT_THAT(mail.files, SizeIs(20));
}

TEST(Mime, EachPartEndsWhereItsOwnOrAnOuterBoundaryIs) {
  // An inner multipart that lacks its end, one that has only a header, an epilogue, and the outer one's boundary
  // within.
  const Mail mail = parse_mail(crlf(R"(Content-Type: multipart/mixed; boundary=out

--inner
preamble
--out
Content-Type: multipart/mixed; boundary=inner

--inner

one
--inner

two
--out
Content-Type: multipart/mixed; boundary=inner
--out
Content-Type: multipart/mixed; boundary=inner

--inner

three
--out--x
--inner--
epilogue
--inner

not a part
--out

four

--out--

--out

after the end
)"));
  EXPECT_EQ(mail.text, "one\ntwo\nthree\n--out--x\nfour\n");
  EXPECT_FALSE(mail.cut);
}

TEST(Mime, ADeepTreeCostsNoMoreThanItsSize) {
  const auto time_of = [](int depth) {
    std::string mail;
    for (int i = 0; i < depth; ++i) mail += fmt::format("Content-Type: multipart/mixed; boundary=b{}\n\n--b{}\n", i, i);
    mail += "Content-Type: a/b\n\n";
    while (mail.size() < 1'000'000) mail += "--x\n\n\n\n\n\n\n\n";
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      const std::clock_t start = std::clock();
      EXPECT_EQ(parse_mail(mail).files.size(), 1U);
      best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return best;
  };
  EXPECT_LT(time_of(19), 3 * time_of(1));
}

TEST(Mime, ReportsAreRecognised) {
  EXPECT_TRUE(parse_mail("Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--").report);
}

TEST(HtmlText, WhatAPersonWouldRead) {
  EXPECT_EQ(html_to_text(
                "<html><head><title>t</title><style>p{}</style></head><body><p>One &amp; two</p><p>Three</p></body>"),
            "One & two\n\nThree\n");
  EXPECT_EQ(html_to_text("<ul><li>a<li>b</ul>"), "- a\n- b\n");
  EXPECT_EQ(html_to_text("see <a href=\"https://example.org/x\">this</a>"), "see this <https://example.org/x>\n");
  EXPECT_EQ(html_to_text("<a href=\"https://e.org\">https://e.org</a>"), "https://e.org\n");
  EXPECT_EQ(html_to_text("mine<blockquote>theirs<br>more</blockquote>"), "mine\n> theirs\n> more\n");
  EXPECT_EQ(html_to_text("<pre>a  b\nc</pre>"), "a  b\nc\n");
  EXPECT_EQ(html_to_text("1 < 2 &#8364; &#x41; &unknown; <!-- no --> <script>alert('<p>')</script>end"),
            "1 < 2 € A &unknown; end\n");
  EXPECT_EQ(html_to_text("<unclosed"), "");
}

TEST(HtmlText, IsLinear) {
  std::string hostile;
  for (int i = 0; i < 200'000; ++i) hostile += "<a =\"";
  EXPECT_THAT(html_to_text(hostile), IsEmpty());
  hostile.clear();
  for (int i = 0; i < 200'000; ++i) hostile += "<a href=x></a><blockquote>&#";
  EXPECT_FALSE(html_to_text(hostile).empty());
}

TEST(OwnWords, HistoryAndSignatureGo) {
  EXPECT_EQ(own_words("Yes.\n\nOn Mon, 2 Mar 2026 at 10:00, Bot <bot@example.org> wrote:\n> Shall I?\n> > Maybe\n"),
            "Yes.");
  EXPECT_EQ(own_words("Yes.\n\nOn Monday Bot\n<bot@example.org> wrote:\n> Shall I?"), "Yes.");
  EXPECT_EQ(own_words("Ja.\n\nAm 02.03.26 um 10:00 schrieb Bot:\n> Soll ich?"), "Ja.");
  EXPECT_EQ(own_words("Yes.\n-- \nAlice\nHead of it"), "Yes.");
  EXPECT_EQ(own_words("Yes.\n\n-----Original Message-----\nFrom: x\n\nold"), "Yes.");
  EXPECT_EQ(own_words("Yes.\n________________________________\nFrom: Bot\nSent: Monday\n\nold"), "Yes.");
  EXPECT_EQ(own_words("On Monday, Bot <b@e.org> wrote:\n> Shall I?\n\nYes."), "Yes.");
}

TEST(OwnWords, WhatIsAnsweredLineByLineStays) {
  const std::string_view text = "> Shall I?\nYes.\n> And then?\nNo.";
  EXPECT_EQ(own_words(text), text);
}

TEST(OwnWords, SomethingIsAlwaysLeft) {
  EXPECT_EQ(own_words("> only a quotation"), "> only a quotation");
  EXPECT_EQ(own_words("-- \nme"), "-- \nme");
  EXPECT_EQ(own_words("Look:\n> this"), "Look:");
  EXPECT_EQ(own_words(""), "");
}

}  // namespace
}  // namespace talaria::mail
