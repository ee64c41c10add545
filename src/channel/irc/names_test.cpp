// Names and what the server says about them: casemap.h, isupport.h.

#include <gtest/gtest.h>

#include "channel/irc/casemap.h"
#include "channel/irc/isupport.h"

namespace talaria::irc {
namespace {

TEST(CaseMapping, EachHasItsOwnLowerCase) {
  EXPECT_EQ(fold("ABZ[\\]^_", CaseMapping::ascii), "abz[\\]^_");
  EXPECT_EQ(fold("ABZ[\\]^_", CaseMapping::rfc1459), "abz{|}~_");
  EXPECT_EQ(fold("ABZ[\\]^_", CaseMapping::strict_rfc1459), "abz{|}^_");
  EXPECT_TRUE(same_name("Nick^", "nick~", CaseMapping::rfc1459));
  EXPECT_FALSE(same_name("Nick^", "nick~", CaseMapping::strict_rfc1459));
  EXPECT_FALSE(same_name("nick", "nick_", CaseMapping::ascii));
  EXPECT_EQ(case_mapping("rfc7613"), CaseMapping::ascii);
}

TEST(Isupport, TakesInWhatWeUse) {
  Isupport isupport;
  EXPECT_TRUE(isupport.is_channel("#a"));
  EXPECT_FALSE(isupport.is_channel("!a"));
  isupport.apply(
      *parse_message(":s 005 me CASEMAPPING=ascii CHANTYPES=#! NICKLEN=16 WHOX BOT=B :are supported by this server"));
  EXPECT_EQ(isupport.casemapping, CaseMapping::ascii);
  EXPECT_TRUE(isupport.is_channel("!a"));
  EXPECT_FALSE(isupport.is_channel("&a"));
  EXPECT_FALSE(isupport.is_channel(""));
  EXPECT_EQ(isupport.nicklen, 16U);
  EXPECT_TRUE(isupport.whox);
  EXPECT_EQ(isupport.bot_mode, 'B');
}

TEST(Isupport, PassesRubbishOver) {
  Isupport isupport;
  isupport.apply(*parse_message(":s 005 me NICKLEN=x CHANTYPES= BOT=long NICKLEN=99999999999999 =x :end"));
  isupport.apply(*parse_message(":s 005"));
  EXPECT_EQ(isupport.nicklen, 30U);
  EXPECT_EQ(isupport.chantypes, "#&");
  EXPECT_EQ(isupport.bot_mode, '\0');
}

}  // namespace
}  // namespace talaria::irc
