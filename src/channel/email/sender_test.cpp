#include "channel/email/sender.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "channel/email/loop_guard.h"

namespace talaria::mail {
namespace {

using testing::HasSubstr;

Header header_of(std::string_view text) {
  std::string mail = std::string(text) + "\n\n";
  std::string_view view = mail;
  return Header::take(view);
}

SenderRules rules() {
  return {.trusted_authserv = "mx.example.org",
          .allow = {"address:Alice@example.org", "domain:friends.test"},
          .admins = {"address:root@example.org"}};
}

bool is_believed(std::string_view results) {
  const auto header = header_of("From: alice@example.org\n" + std::string(results));
  return judge_sender(header, rules()).has_value();
}

TEST(Sender, IsBelievedWhenOurServerVouches) {
  EXPECT_TRUE(is_believed("Authentication-Results: mx.example.org; dmarc=pass (p=none) header.from=example.org"));
  EXPECT_TRUE(
      is_believed("Authentication-Results: MX.example.org 1; spf=none; dkim=pass header.d=example.org header.s=x"));
  EXPECT_TRUE(is_believed("Authentication-Results: mx.example.org;\n\tdkim=pass (2048-bit) header.i=@example.org;"));
  EXPECT_TRUE(is_believed("Authentication-Results: mx.example.org; spf=pass smtp.mailfrom=bounce@example.org"));
  EXPECT_TRUE(is_believed("Authentication-Results: mx.example.org; spf = pass  smtp.mailfrom = example.org"));
}

TEST(Sender, IsNotBelievedOtherwise) {
  for (const char* results : {
           "Subject: none",
           "Authentication-Results: mx.example.org; none",
           "Authentication-Results: mx.example.org; dmarc=fail header.from=example.org; dkim=pass header.d=example.org",
           "Authentication-Results: mx.example.org; dmarc=pass header.from=evil.test",
           "Authentication-Results: mx.example.org; dmarc=pass",
           "Authentication-Results: mx.example.org; dkim=pass header.d=evil.test",
           "Authentication-Results: mx.example.org; dkim=pass header.d=org",
           "Authentication-Results: mx.example.org; dkim=pass header.d=ample.org",
           "Authentication-Results: mx.example.org; dkim=fail header.d=example.org",
           "Authentication-Results: mx.example.org; spf=softfail smtp.mailfrom=example.org",
           "Authentication-Results: mx.evil.test; dmarc=pass header.from=example.org",
           "Authentication-Results: mx.example.org.evil.test; dmarc=pass header.from=example.org",
           "Authentication-Results: mx.evil.test; x=\"; mx.example.org; dmarc=pass header.from=example.org\"",
           "Authentication-Results: mx.example.org; x=y (; dmarc=pass header.from=example.org)",
           "Authentication-Results: mx.example.org; x=\"; dmarc=pass header.from=example.org\"",
           "X-Authentication-Results: mx.example.org; dmarc=pass header.from=example.org",
       }) {
    EXPECT_FALSE(is_believed(results)) << results;
  }
}

TEST(Sender, TheFirstFieldOfOurServerCounts) {
  EXPECT_FALSE(
      is_believed("Authentication-Results: mx.example.org; dmarc=fail header.from=example.org\n"
                  "Authentication-Results: mx.example.org; dmarc=pass header.from=example.org"));
  EXPECT_TRUE(
      is_believed("Authentication-Results: other; dmarc=fail header.from=example.org\n"
                  "Authentication-Results: mx.example.org; dmarc=pass header.from=example.org"));
}

// What a sender may choose, a local part say, stands in a quoted string or a comment of our server's field.
TEST(Sender, QuotationsAndCommentsSayNothing) {
  const std::string start = "Authentication-Results: mx.example.org; ";
  for (
      const char* results : {
          R"(spf=pass smtp.mailfrom="a\"; dmarc=pass header.from=example.org; x=\"b"@evil.test; dmarc=fail header.from=example.org)",
          R"(spf=pass smtp.mailfrom="a\"; dmarc=pass header.from=example.org; x=\"b"@evil.test)",
          R"(spf=pass smtp.mailfrom="\\\"; dmarc=pass header.from=example.org; x=\\\""@evil.test)",
          R"(spf=pass (a\) ; dmarc=pass header.from=example.org; \() smtp.mailfrom=evil.test)",
          R"(spf=pass (") smtp.mailfrom=evil.test; x=y (" ; dmarc=pass header.from=example.org))",
          R"("dmarc=pass" header.from=example.org)",
          R"("dmarc"=pass header.from=example.org)",
          R"(dmarc="pass" header.from=example.org)",
          R"(dmarc=pass "header.from=example.org")",
          R"(dmarc=pass header.from="example.org")",
          R"(spf=pass smtp.mailfrom="a@example.org")",
      }) {
    EXPECT_FALSE(is_believed(start + results)) << results;
  }
  EXPECT_TRUE(is_believed(start + R"(spf=pass (a \) b; "c) smtp.mailfrom="a\"; b"@example.org)"));
}

TEST(Sender, AFieldThatIsNotWellFormedVouchesForNobody) {
  const std::string start = "Authentication-Results: mx.example.org; dmarc=pass header.from=example.org";
  ASSERT_TRUE(is_believed(start));
  for (const char* rest : {"; x=\"y", "; x=y (z", "; x=y )", "; x=\\\"y", " \\"}) {
    EXPECT_FALSE(is_believed(start + rest)) << rest;
    EXPECT_FALSE(is_believed(start + rest + "\n" + start)) << "nor is a field below it asked: " << rest;
  }
}

TEST(Sender, AFailureCountsMoreThanAPass) {
  for (const std::string good : {"dmarc=pass header.from=example.org", "dkim=pass header.d=example.org",
                                 "spf=pass smtp.mailfrom=a@example.org"}) {
    const std::string start = "Authentication-Results: mx.example.org; ";
    const std::string bad = good.substr(0, good.find('=')) + "=fail";
    EXPECT_TRUE(is_believed(start + good));
    EXPECT_FALSE(is_believed(start + good + "; " + bad)) << good;
    EXPECT_FALSE(is_believed(start + bad + "; " + good)) << good;
    EXPECT_FALSE(is_believed(start + good + "; DMARC = Fail")) << good;
    std::string many = start + good;
    for (int i = 0; i < 100; ++i) many += "; x=pass";
    EXPECT_FALSE(is_believed(many + "; " + bad)) << good;
  }
}

// Pieces of which hostile content is made.
rc::Gen<std::string> hostile_text() {
  const auto piece = rc::gen::element<std::string>("\"", "\\", "(", ")", ";", "=", " ", "@", "/", "a", "dmarc=pass",
                                                   "header.from=example.org", "; dkim=pass header.d=example.org",
                                                   "spf=pass smtp.mailfrom=example.org");
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(piece), [](const std::vector<std::string>& pieces) {
    std::string text;
    for (const std::string& each : pieces) text += each;
    return text;
  });
}

// As a server must write it in a quoted string or a comment (RFC 5322, 3.2.1).
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\"\\()").contains(c)) out += '\\';
    out += c;
  }
  return out;
}

RC_GTEST_PROP(SenderProperty, NothingInsideOfQuotationsAndCommentsIsAResult, ()) {
  const std::string inside = escaped(*hostile_text());
  for (const std::string& field :
       {fmt::format("spf=pass (of {}) smtp.mailfrom=\"{}\"@evil.test", inside, inside),
        fmt::format("\"{}\" dkim=none; dmarc=none header.from=\"{}\" ({})", inside, inside, inside)}) {
    RC_ASSERT(!is_believed("Authentication-Results: mx.example.org; " + field));
    RC_ASSERT(is_believed("Authentication-Results: mx.example.org; dkim=pass header.d=example.org; " + field));
  }
}

RC_GTEST_PROP(SenderProperty, NothingHidesAFailure, ()) {
  const std::string anything = *hostile_text();
  const std::string start = "Authentication-Results: mx.example.org; ";
  RC_ASSERT(!is_believed(start + "dmarc=fail header.from=example.org; " + anything));
  RC_ASSERT(!is_believed(start + anything + "; dmarc=fail header.from=example.org"));
}

TEST(Sender, MustBeLetIn) {
  const std::string passed = "\nAuthentication-Results: mx.example.org; dmarc=pass header.from=";
  EXPECT_TRUE(judge_sender(header_of("From: X <bob@friends.test>" + passed + "friends.test"), rules()));
  EXPECT_TRUE(judge_sender(header_of("From: root@example.org" + passed + "example.org"), rules())->admin);
  EXPECT_FALSE(judge_sender(header_of("From: alice@example.org" + passed + "example.org"), rules())->admin);
  EXPECT_THAT(judge_sender(header_of("From: bob@example.org" + passed + "example.org"), rules()).error().what,
              HasSubstr("not in allow"));
  EXPECT_FALSE(judge_sender(header_of("From: bob@sub.friends.test" + passed + "friends.test"), rules()));
  EXPECT_FALSE(judge_sender(header_of("From: alice@example.org, bob@evil.test" + passed + "example.org"), rules()));
  EXPECT_FALSE(
      judge_sender(header_of("From: alice@example.org\nFrom: bob@evil.test" + passed + "example.org"), rules()));
  EXPECT_FALSE(judge_sender(header_of("From: alice@example.org <mallory@evil.test>" + passed + "evil.test"), rules()));
  SenderRules nobody = rules();
  nobody.allow.clear();
  EXPECT_FALSE(judge_sender(header_of("From: alice@example.org" + passed + "example.org"), nobody));
}

TEST(Sender, NoVerificationIsAChoice) {
  SenderRules open = rules();
  open.verify = false;
  EXPECT_TRUE(judge_sender(header_of("From: alice@example.org"), open));
}

TEST(LoopGuard, ProgramsAreNotAnswered) {
  for (const char* field :
       {"Auto-Submitted: auto-replied", "Auto-Submitted: auto-generated; x=y", "Precedence: bulk", "Precedence: List",
        "List-Id: <x.example.org>", "Return-Path: <>", "From: MAILER-DAEMON@example.org", "From: bot@example.org",
        "Sender: bot@example.org", "X-Auto-Response-Suppress: All", "X-Talaria-Loop: bot@example.org",
        "From: no-reply@example.org", "From: list-request@example.org"}) {
    EXPECT_TRUE(automatic(header_of(field), "bot@example.org")) << field;
  }
  for (const char* field :
       {"Auto-Submitted: no", "Auto-Submitted: No (a comment)", "Precedence: first-class", "From: alice@example.org",
        "Return-Path: <alice@example.org>", "X-Auto-Response-Suppress: None"}) {
    EXPECT_FALSE(automatic(header_of(field), "bot@example.org")) << field;
  }
}

TEST(LoopGuard, OneSenderGetsSoManyAnswersAnHour) {
  AnswerQuota quota(2);
  const auto start = SteadyClock::time_point{} + std::chrono::hours(5);
  EXPECT_TRUE(quota.take("a", start));
  EXPECT_TRUE(quota.take("a", start + std::chrono::minutes(30)));
  EXPECT_FALSE(quota.take("a", start + std::chrono::minutes(59)));
  EXPECT_TRUE(quota.take("b", start));
  EXPECT_TRUE(quota.take("a", start + std::chrono::minutes(60)));
  EXPECT_FALSE(quota.take("a", start + std::chrono::minutes(61)));
  quota.give_back("a");
  EXPECT_TRUE(quota.take("a", start + std::chrono::minutes(62)));
}

}  // namespace
}  // namespace talaria::mail
