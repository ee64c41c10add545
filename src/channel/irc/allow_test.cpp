#include "channel/irc/allow.h"

#include <gtest/gtest.h>

namespace talaria::irc {
namespace {

const Source kBob{"Bob", "~b", "client.home.example"};

bool allowed(std::vector<std::string> rules, std::optional<std::string> account = {}) {
  return AllowList(std::move(rules)).allows(kBob, account, CaseMapping::rfc1459);
}

TEST(AllowList, NoRuleIsNobody) { EXPECT_FALSE(allowed({})); }

TEST(AllowList, EachKindOfRule) {
  EXPECT_TRUE(allowed({"*"}));
  EXPECT_TRUE(allowed({"nick:eve", "nick:bob"}));
  EXPECT_FALSE(allowed({"nick:bobby"}));
  EXPECT_TRUE(allowed({"host:*.HOME.example"}));
  EXPECT_TRUE(allowed({"host:~b@*"}));
  EXPECT_FALSE(allowed({"host:eve@*"}));
  EXPECT_FALSE(allowed({"host:home.example"}));
  EXPECT_TRUE(allowed({"account:alice"}, "Alice"));
}

TEST(AllowList, AnUnknownAccountMatchesNoAccountRule) {
  EXPECT_FALSE(allowed({"account:alice"}));
  EXPECT_FALSE(allowed({"account:alice"}, ""));
  EXPECT_FALSE(allowed({"account:bob"}));  // the nick is no account
  EXPECT_FALSE(allowed({"nick:alice"}, "alice"));
}

TEST(AllowList, RulesThatAreNoneMatchNobody) {
  for (const auto* rule : {"bob", "nick:", "account:", "host:", "", "Nick:bob", "mask:*"}) {
    EXPECT_FALSE(allowed({rule}, "")) << rule;
    EXPECT_FALSE(check_allow_rule(rule)) << rule;
  }
}

TEST(AllowList, CaseFollowsTheServer) {
  const Source source{"bob[m]", "b", "h"};
  EXPECT_TRUE(AllowList({"nick:BOB{m}"}).allows(source, {}, CaseMapping::rfc1459));
  EXPECT_FALSE(AllowList({"nick:BOB{m}"}).allows(source, {}, CaseMapping::ascii));
}

TEST(WildcardMatch, StarsAndQuestionMarks) {
  EXPECT_TRUE(wildcard_match("*", ""));
  EXPECT_TRUE(wildcard_match("a*b*c", "axxbyyc"));
  EXPECT_TRUE(wildcard_match("*.example", "a.example.example"));
  EXPECT_TRUE(wildcard_match("?ob", "Bob"));
  EXPECT_FALSE(wildcard_match("?ob", "ob"));
  EXPECT_FALSE(wildcard_match("a*b", "axxc"));
  EXPECT_FALSE(wildcard_match("", "a"));
  // Backtracking stays cheap.
  EXPECT_FALSE(wildcard_match("*a*a*a*a*a*a*a*a*b", std::string(500, 'a')));
}

}  // namespace
}  // namespace talaria::irc
