#include "api/api_server.h"

#include <gtest/gtest.h>

namespace talaria {
namespace {

TEST(KeyRing, OnlyTheWholeKeyIsAccepted) {
  const KeyRing ring({"first-key", "second"});
  EXPECT_TRUE(ring.accepts("first-key"));
  EXPECT_TRUE(ring.accepts("second"));
  for (const char* wrong : {"", "first-ke", "first-keyfirst-key", "first-key ", "secondsecond", "First-key"}) {
    EXPECT_FALSE(ring.accepts(wrong)) << wrong;
  }
}

TEST(KeyRing, AnEmptyKeyIsNoKey) {
  EXPECT_FALSE(KeyRing({""}).accepts(""));
  EXPECT_FALSE(KeyRing({}).accepts(""));
}

}  // namespace
}  // namespace talaria
