#include "lifecycle/stop_budget.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace talaria {
namespace {

using namespace std::chrono_literals;
using Time = StopBudget::Time;

const Time begun{1'000'000s};

Millis after(Time at) { return std::chrono::duration_cast<Millis>(at - begun); }

TEST(StopBudget, WithoutAManagerTurnsHaveTheirTimeAndTheRestFollows) {
  StopBudget budget(begun, {.drain_timeout = 30s, .manager = {}, .extendable = false});
  EXPECT_EQ(after(budget.drain()), 30s);
  EXPECT_EQ(after(budget.end()), 45s);
  EXPECT_EQ(after(budget.guard()), 46s);
  EXPECT_EQ(budget.progress(begun + 10s), std::nullopt);
}

TEST(StopBudget, TheUnitAsInstalledHoldsTheUsualDrain) {
  StopBudget budget(begun, {.drain_timeout = 30s, .manager = 60s, .extendable = true});
  EXPECT_EQ(after(budget.drain()), 30s);
  EXPECT_LT(after(budget.guard() + budget.last_act()), 60s);
  EXPECT_EQ(budget.progress(begun + 10s), std::nullopt) << "there is time enough";
}

TEST(StopBudget, ALongDrainGetsNoMoreThanTheUnitAllowsWithoutProgress) {
  const StopBudget budget(begun, {.drain_timeout = 10min, .manager = 60s, .extendable = true});
  EXPECT_LT(after(budget.drain()), 45s);
  EXPECT_LT(after(budget.guard() + budget.last_act()), 60s);
}

TEST(StopBudget, ProgressProlongsIt) {
  StopBudget budget(begun, {.drain_timeout = 10min, .manager = 60s, .extendable = true});
  const auto more = budget.progress(begun + 39s);
  ASSERT_TRUE(more);
  EXPECT_GT(after(budget.drain()), 45s);
  EXPECT_LE(after(budget.drain()), 60s) << "a turn that falls silent now has 20 s";
  // The manager waits until 39 s + more, and everything is over before that.
  EXPECT_LT(budget.guard() + budget.last_act(), begun + 39s + *more);
}

TEST(StopBudget, ProgressEndsWithTheDrainTimeout) {
  StopBudget budget(begun, {.drain_timeout = 2min, .manager = 60s, .extendable = true});
  for (auto at = 1s; at < 200s; at += 1s) (void)budget.progress(begun + at);
  EXPECT_EQ(after(budget.drain()), 2min);
  EXPECT_EQ(budget.progress(begun + 119s), std::nullopt);
}

TEST(StopBudget, AManagerThatDoesNotListenIsNotAsked) {
  StopBudget budget(begun, {.drain_timeout = 10min, .manager = 60s, .extendable = false});
  EXPECT_EQ(budget.progress(begun + 39s), std::nullopt);
}

TEST(StopBudget, AnIdleStopIsAbandonedSoonNotAfterTheDrain) {
  StopBudget budget(begun, {.drain_timeout = 30s, .manager = 60s, .extendable = true});
  budget.drained(begun + 10ms);
  EXPECT_LE(after(budget.end()), 15'010ms);
  EXPECT_LE(after(budget.guard()), 18s);
}

TEST(StopBudget, ASecondSignalLeavesTwoSeconds) {
  StopBudget budget(begun, {.drain_timeout = 30s, .manager = 60s, .extendable = true});
  budget.cut_short(begun + 5s);
  EXPECT_EQ(after(budget.end()), 7s);
  budget.cut_short(begun + 6s);
  EXPECT_EQ(after(budget.end()), 7s);
  EXPECT_EQ(after(budget.step(5s, begun + 6s).at()), 7s);
}

TEST(StopBudget, WhatTheManagerSaysLaterCounts) {
  StopBudget budget(begun, {.drain_timeout = 30s, .manager = 60s, .extendable = true});
  budget.set_manager(10s);
  EXPECT_LT(after(budget.guard() + budget.last_act()), 10s);
  budget.set_manager(std::nullopt);  // infinity
  EXPECT_EQ(after(budget.drain()), 30s);
}

// Whatever happens in whatever order, we are gone before the manager loses patience.
RC_GTEST_PROP(StopBudget, NeverOutlastsTheManager, ()) {
  const auto timeout = Millis{*rc::gen::inRange(500, 200'000)};
  const auto drain = Millis{*rc::gen::inRange(0, 3'600'000)};
  StopBudget budget(begun, {.drain_timeout = drain, .manager = timeout, .extendable = *rc::gen::arbitrary<bool>()});
  Time managers = begun + timeout;  // as systemd counts: an extension only ever lengthens
  Time now = begun;
  const auto steps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 8'000));
  for (const int step : steps) {
    now += Millis{step};
    if (now > budget.drain()) break;
    if (const auto more = budget.progress(now)) managers = std::max(managers, now + *more);
    RC_ASSERT(budget.drain() <= begun + drain || drain < timeout);
    RC_ASSERT(budget.drain() <= budget.end());
    RC_ASSERT(budget.end() < budget.guard());
    RC_ASSERT(budget.guard() + budget.last_act() <= managers);
  }
  if (*rc::gen::arbitrary<bool>()) budget.cut_short(now);
  budget.drained(std::min(now, budget.drain()));
  RC_ASSERT(budget.guard() + budget.last_act() <= managers);
  RC_ASSERT(budget.step(Millis{5'000}, now).at() <= std::max(budget.end(), now));
}

}  // namespace
}  // namespace talaria
