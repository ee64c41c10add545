#include "channel/irc/rooms.h"

#include <gtest/gtest.h>

namespace talaria::irc {
namespace {

using namespace std::chrono_literals;
constexpr auto kMapping = CaseMapping::rfc1459;
const Rooms::Time t0 = Rooms::Time{} + 1h;

TEST(Rooms, AsksOnceAndThenWithGrowingDelays) {
  Rooms rooms({"#a", "#b key"});
  const auto first = rooms.due(t0);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[1].channel, "#b");
  EXPECT_EQ(first[1].key, "key");
  EXPECT_TRUE(rooms.due(t0 + 4s).empty());
  rooms.on_joined("#B", kMapping, t0, 7);
  EXPECT_EQ(rooms.next_due(), t0 + 5s);
  EXPECT_EQ(rooms.due(t0 + 5s).size(), 1U);
  EXPECT_EQ(rooms.next_due(), t0 + 15s);
}

TEST(Rooms, ComesBackAfterAKickLaterEachTime) {
  Rooms rooms({"#a"});
  (void)rooms.due(t0);
  rooms.on_joined("#a", kMapping, t0, 7);
  EXPECT_EQ(rooms.next_due(), std::nullopt);
  rooms.on_lost("#A", kMapping, t0 + 1s);
  EXPECT_FALSE(rooms.in("#a", kMapping));
  EXPECT_TRUE(rooms.wants("#a", kMapping));
  const auto first = *rooms.next_due() - (t0 + 1s);
  EXPECT_GE(first, 5s);
  (void)rooms.due(*rooms.next_due());
  rooms.on_joined("#a", kMapping, t0 + 20s, 7);
  rooms.on_lost("#a", kMapping, t0 + 21s);
  EXPECT_GT(*rooms.next_due() - (t0 + 21s), first);
  // A long, quiet stay makes up for it.
  (void)rooms.due(*rooms.next_due());
  rooms.on_joined("#a", kMapping, t0 + 1h, 7);
  rooms.on_lost("#a", kMapping, t0 + 2h);
  EXPECT_EQ(*rooms.next_due() - (t0 + 2h), 5s);
}

TEST(Rooms, KnowsTheConfiguredSpelling) {
  Rooms rooms({"#Talaria"});
  EXPECT_FALSE(rooms.place("#talaria", kMapping));  // not in
  rooms.on_joined("#talaria", kMapping, t0, 7);
  ASSERT_TRUE(rooms.place("#TALARIA", kMapping));
  EXPECT_EQ(rooms.place("#TALARIA", kMapping)->channel, "#Talaria");
  EXPECT_EQ(rooms.place("#TALARIA", kMapping)->since, 7);
  rooms.on_joined("#forced", kMapping, t0, 7);
  EXPECT_FALSE(rooms.place("#forced", kMapping));
}

}  // namespace
}  // namespace talaria::irc
