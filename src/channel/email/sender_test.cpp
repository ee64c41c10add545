#include "channel/email/sender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
