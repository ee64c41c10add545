#include "channel/irc/outgoing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace talaria::irc {
namespace {

using namespace std::chrono_literals;
using Fate = DeliveryError::Fate;
using testing::ElementsAre;
using testing::HasSubstr;

class OutgoingTest : public testing::Test {
 protected:
  // Everything that may be written now, as lines.
  std::vector<std::string> take() {
    std::vector<std::string> lines;
    while (auto bytes = outgoing.take(now)) {
      for (std::string_view rest = *bytes; !rest.empty();) {
        const auto end = rest.find("\r\n");
        lines.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end + 2);
      }
    }
    return lines;
  }
  void error(std::string_view line, bool in_channel = true, bool settling = false) {
    outgoing.on_error(*parse_message(line), {in_channel, settling}, CaseMapping::rfc1459);
  }
  static Fate fate(const std::shared_ptr<Delivery>& d) { return d->outcome->error().fate; }

  asio::io_context loop;
  Outgoing outgoing{loop.get_executor(), 1.0, 4};
  Outgoing::Time now = Outgoing::Time{} + 1h;
};

TEST_F(OutgoingTest, ThePongIsTheReceipt) {
  const auto d = outgoing.deliver("bob", "tok", {"a", "b"});
  EXPECT_THAT(take(), ElementsAre("a", "b", "PING :tok"));
  EXPECT_EQ(outgoing.oldest_ping(), now);
  outgoing.on_pong("other");
  EXPECT_FALSE(d->outcome);
  outgoing.on_pong("tok");
  ASSERT_TRUE(d->outcome);
  EXPECT_TRUE(d->outcome->has_value());
  EXPECT_TRUE(d->done.is_set());
  EXPECT_EQ(outgoing.deliveries(), 0U);
}

TEST_F(OutgoingTest, APongForAPingNotYetSentIsNoReceipt) {
  const auto d = outgoing.deliver("bob", "tok", {"a", "b", "c", "d", "e", "f"});
  EXPECT_THAT(take(), ElementsAre("a", "b", "c", "d"));
  outgoing.on_pong("tok");
  EXPECT_FALSE(d->outcome);
}

TEST_F(OutgoingTest, KeepsToTheFloodLimit) {
  outgoing.deliver("bob", "tok", {"1", "2", "3", "4", "5", "6"});
  EXPECT_EQ(take().size(), 4U);
  EXPECT_EQ(take().size(), 0U);
  ASSERT_TRUE(outgoing.next_at(now));
  EXPECT_GT(*outgoing.next_at(now), now);
  now += 1100ms;
  EXPECT_THAT(take(), ElementsAre("5"));
  outgoing.urgent("PONG x");
  EXPECT_THAT(take(), ElementsAre("PONG x"));  // does not wait
  now += 1100ms;
  EXPECT_THAT(take(), ElementsAre());  // but is paid for
  now += 1100ms;
  EXPECT_THAT(take(), ElementsAre("6", "PING :tok"));
  EXPECT_EQ(outgoing.next_at(now), std::nullopt);
}

TEST_F(OutgoingTest, ALongAnswerHoldsUpNobody) {
  outgoing.deliver("bob", "t1", {"b1", "b2", "b3", "b4", "b5"});
  outgoing.deliver("eve", "t2", {"e1", "e2"});
  EXPECT_THAT(take(), ElementsAre("b1", "e1", "b2", "e2", "PING :t2"));
}

TEST_F(OutgoingTest, ABreakTellsWhatMayHaveArrived) {
  const auto begun = outgoing.deliver("a", "t1", {"1", "2", "3", "4", "5"});
  EXPECT_EQ(take().size(), 4U);
  const auto waiting = outgoing.deliver("b", "t2", {"x"});
  const auto other = outgoing.deliver("c", "t3", {"x"});
  now += 1100ms;
  EXPECT_THAT(take(), ElementsAre("5", "PING :t1"));
  outgoing.on_connection_lost("reset");
  EXPECT_EQ(fate(begun), Fate::unknown);
  EXPECT_EQ(fate(waiting), Fate::retry);
  EXPECT_EQ(fate(other), Fate::retry);
  EXPECT_THAT(begun->outcome->error().what, HasSubstr("reset"));
  EXPECT_EQ(outgoing.deliveries(), 0U);
  EXPECT_EQ(outgoing.next_at(now), std::nullopt);
}

TEST_F(OutgoingTest, NoSuchNickIsDeadAndTheRestIsNotSent) {
  const auto d = outgoing.deliver("Bob", "tok", {"1", "2", "3", "4", "5", "6"});
  EXPECT_EQ(take().size(), 4U);
  error(":s 401 me bob :No such nick/channel");
  EXPECT_FALSE(d->outcome);  // errors of lines 2 to 4 are still to come
  now += 10s;
  EXPECT_THAT(take(), ElementsAre("PING :tok"));
  error(":s 401 me bob :No such nick/channel");
  outgoing.on_pong("tok");
  ASSERT_TRUE(d->outcome);
  EXPECT_EQ(fate(d), Fate::dead);
  EXPECT_THAT(d->outcome->error().what, HasSubstr("No such nick"));
}

TEST_F(OutgoingTest, ARefusalIsKnownEvenIfTheConnectionBreaks) {
  const auto d = outgoing.deliver("bob", "tok", {"1"});
  take();
  error(":s 401 me bob :No such nick");
  outgoing.on_connection_lost("reset");
  EXPECT_EQ(fate(d), Fate::dead);
}

TEST_F(OutgoingTest, ErrorsOfOthersAreNotOurs) {
  const auto d = outgoing.deliver("bob", "tok", {"1"});
  error(":s 401 me bob :before anything was sent");
  take();
  error(":s 401 me eve :No such nick");
  error(":s 471 me bob :no sending error");
  outgoing.on_pong("tok");
  EXPECT_TRUE(d->outcome->has_value());
}

TEST_F(OutgoingTest, TryAgainNumerics) {
  const auto all = outgoing.deliver("bob", "t1", {"1"});
  take();
  error(":s 439 me bob :Target change too fast");
  outgoing.on_pong("t1");
  EXPECT_EQ(fate(all), Fate::retry);
  now += 10s;
  const auto part = outgoing.deliver("bob", "t2", {"1", "2"});
  take();
  error(":s 439 me bob :Target change too fast");
  outgoing.on_pong("t2");
  EXPECT_EQ(fate(part), Fate::unknown);  // one of the two may stand there
}

TEST_F(OutgoingTest, WhoIsNotBackYetMayComeWhileWeSettle) {
  const auto d = outgoing.deliver("bob", "tok", {"1"});
  take();
  error(":s 401 me bob :No such nick", true, true);
  outgoing.on_pong("tok");
  EXPECT_EQ(fate(d), Fate::retry);
}

TEST_F(OutgoingTest, CannotSendToAChannel) {
  const auto banned = outgoing.deliver("#a", "t1", {"1"});
  take();
  error(":s 404 me #A :Cannot send to channel", true);
  outgoing.on_pong("t1");
  EXPECT_EQ(fate(banned), Fate::dead);
  now += 10s;
  const auto kicked = outgoing.deliver("#a", "t2", {"1"});
  take();
  error(":s 404 me #a :Cannot send to channel", false);
  outgoing.on_pong("t2");
  EXPECT_EQ(fate(kicked), Fate::retry);
}

TEST_F(OutgoingTest, WhoNoLongerWaitsIsForgotten) {
  auto d = outgoing.deliver("bob", "tok", {"1", "2"});
  outgoing.abandon(d);
  EXPECT_THAT(take(), ElementsAre());
}

TEST_F(OutgoingTest, IsBounded) {
  for (std::size_t i = 0; i < Outgoing::kMaxDeliveries; ++i)
    EXPECT_TRUE(outgoing.deliver("a", std::to_string(i), {"x"}));
  EXPECT_FALSE(outgoing.deliver("a", "one more", {"x"}));
  for (std::size_t i = 0; i < Outgoing::kMaxWaiting; ++i) outgoing.urgent("PONG");
  EXPECT_FALSE(outgoing.overflowed());
  outgoing.urgent("PONG");
  EXPECT_TRUE(outgoing.overflowed());
}

}  // namespace
}  // namespace talaria::irc
