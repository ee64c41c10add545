#include "channel/telegram/pace.h"

#include <gtest/gtest.h>

namespace talaria::telegram {
namespace {

using namespace std::chrono_literals;
using Act = Pace::Act;
const Pace::Time t0 = Pace::Time{} + 1h;

// Sends as soon as it may; how many by `until`.
int sent(Pace& pace, const std::string& chat, Pace::Time until) {
  int n = 0;
  for (auto now = t0;; ++n) {
    now = std::max(now, pace.ready_at(chat, Act::send, false, now));
    if (now >= until) return n;
    pace.took(chat, Act::send, now);
  }
}

TEST(TelegramPace, OneASecondInAChatAfterAShortBurst) {
  Pace pace(1.0, 20);
  EXPECT_EQ(sent(pace, "1", t0 + 10s), 12);
}

TEST(TelegramPace, TwentyAMinuteInAGroup) {
  Pace pace(1.0, 20);
  EXPECT_EQ(sent(pace, "-1", t0 + 59s), 20);
  EXPECT_EQ(sent(pace, "-1", t0 + 59s), 0);
}

TEST(TelegramPace, PiecesOfAnAnswerAreShownOnceASecond) {
  Pace pace(1.0, 20);
  EXPECT_LE(pace.ready_at("1", Act::send, true, t0), t0);
  pace.took("1", Act::send, t0);
  EXPECT_GE(pace.ready_at("1", Act::edit, true, t0 + 100ms), t0 + 1s);
  EXPECT_LE(pace.ready_at("1", Act::edit, false, t0 + 100ms), t0 + 100ms);
  pace.took("-1", Act::send, t0);
  EXPECT_GE(pace.ready_at("-1", Act::edit, true, t0 + 1s), t0 + 3s);
}

TEST(TelegramPace, ThirtyASecondInAll) {
  Pace pace(1.0, 20);
  auto now = t0;
  for (int n = 0; n < 100; ++n) {
    const auto chat = std::to_string(n);
    now = std::max(now, pace.ready_at(chat, Act::send, false, now));
    pace.took(chat, Act::send, now);
  }
  EXPECT_GE(now - t0, 3s);
  EXPECT_LE(now - t0, 4s);
}

TEST(TelegramPace, A429HoldsItsChatAndASecondOneEverybody) {
  Pace pace(1.0, 20);
  pace.blocked("1", t0 + 10s, t0);
  EXPECT_EQ(pace.ready_at("1", Act::send, false, t0), t0 + 10s);
  EXPECT_LE(pace.ready_at("2", Act::send, false, t0), t0);
  pace.blocked("2", t0 + 5s, t0);
  EXPECT_EQ(pace.ready_at("3", Act::send, false, t0), t0 + 5s);
  EXPECT_LE(pace.ready_at("3", Act::send, false, t0 + 6s), t0 + 6s);
}

TEST(TelegramPace, ForgetsQuietChats) {
  Pace pace(1.0, 20);
  for (int n = 0; n < 20'000; ++n) {
    const auto chat = std::to_string(n);
    const auto now = t0 + n * 1s;
    EXPECT_LE(pace.ready_at(chat, Act::send, false, now), now);
    pace.took(chat, Act::send, now);
  }
}

}  // namespace
}  // namespace talaria::telegram
