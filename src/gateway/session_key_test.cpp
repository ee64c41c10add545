#include "gateway/session_key.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace talaria {
namespace {

RC_GTEST_PROP(SessionKey, DifferentTuplesNeverMeet, (std::string a, std::string b, std::string c, std::string d)) {
  const bool same = a == c && b == d;
  RC_ASSERT((encode_key({a, b}) == encode_key({c, d})) == same);
}

TEST(SessionKey, SeparatorsInsideAComponentStayInside) {
  EXPECT_NE(encode_key({"a/b", "c"}), encode_key({"a", "b/c"}));
  EXPECT_NE(encode_key({"a", ""}), encode_key({"a"}));
  EXPECT_EQ(encode_key({"#x y", "ä"}), "%23x%20y/%C3%A4");
}

TEST(SessionKey, DirectGroupAndThreadAreApart) {
  InboundEvent event;
  event.route = {"libera", "#room", "", ""};
  event.sender.id = "alice";
  const std::string group = session_key_of(event);
  event.sender.id = "bob";
  EXPECT_NE(session_key_of(event), group);
  event.route.thread = "7";
  const std::string thread = session_key_of(event);
  event.sender.id = "alice";
  EXPECT_EQ(session_key_of(event), thread);
  event.direct = true;
  EXPECT_NE(session_key_of(event), group);
}

}  // namespace
}  // namespace talaria
