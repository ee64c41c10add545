#include "lifecycle/crash_loop.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "lifecycle/cause_kind.h"

namespace talaria {
namespace {

constexpr UnixMillis now = 1'800'000'000'000;

RunRow ended(std::string verdict, CauseKind kind, UnixMillis at = now - 1'000, bool was_ready = true) {
  RunRow run;
  run.verdict = std::move(verdict);
  run.kind = to_string(kind);
  run.ended_at = at;
  if (was_ready) run.ready_at = at - 500;
  return run;
}
RunRow segfault(UnixMillis at = now - 1'000) { return ended("crash", CauseKind::fatal_signal, at); }
RunRow killed() { return ended("crash", CauseKind::sigkill); }

TEST(CrashLoop, WhatCounts) {
  for (const CauseKind kind :
       {CauseKind::fatal_signal, CauseKind::oom_kill, CauseKind::watchdog, CauseKind::not_started,
        CauseKind::start_timeout, CauseKind::stuck_stop, CauseKind::unknown})
    EXPECT_EQ(weigh(ended("crash", kind)), EndWeight::failure) << to_string(kind);
  EXPECT_EQ(weigh(ended("unplanned", CauseKind::failure)), EndWeight::failure);
  for (const CauseKind kind : {CauseKind::sigkill, CauseKind::vanished, CauseKind::power_cut})
    EXPECT_EQ(weigh(ended("crash", kind)), EndWeight::outside) << to_string(kind);
  EXPECT_EQ(weigh(ended("unplanned", CauseKind::kill)), EndWeight::outside);
  for (const char* verdict : {"planned", "restart", "replaced", "config", "upgrade"})
    EXPECT_EQ(weigh(ended(verdict, CauseKind::unknown)), EndWeight::planned) << verdict;
}

TEST(CrashLoop, WhoNeverGetsReadyFailsHoweverItEnds) {
  RunRow run = killed();
  run.ready_at.reset();
  EXPECT_EQ(weigh(run), EndWeight::failure);
  run.kind = to_string(CauseKind::power_cut);
  EXPECT_EQ(weigh(run), EndWeight::outside) << "no fault of its own";
}

TEST(CrashLoop, CountsTheRowAndNoMore) {
  const std::vector<RunRow> runs{segfault(), killed(), segfault(), ended("planned", CauseKind::stop), segfault()};
  EXPECT_EQ(failures_in_a_row(runs, now), 2);
  EXPECT_EQ(failures_in_a_row({}, now), 0);
  const std::vector<RunRow> long_ago{segfault(), segfault(now - crash_loop_window.count() - 1), segfault()};
  EXPECT_EQ(failures_in_a_row(long_ago, now), 1);
  const std::vector<RunRow> clock_set_back{segfault(now + 5'000)};
  EXPECT_EQ(failures_in_a_row(clock_set_back, now), 1);
}

TEST(CrashLoop, DelaysOfTheContract) {
  EXPECT_EQ(crash_loop_delay(0, 0.5), Millis(0));
  EXPECT_EQ(crash_loop_delay(1, 0.5), Millis(500));
  EXPECT_EQ(crash_loop_delay(2, 0.5), Millis(1'000));
  EXPECT_EQ(crash_loop_delay(3, 0), Millis(1'600));
  EXPECT_EQ(crash_loop_delay(8, 0.5), Millis(60'000));
  EXPECT_EQ(crash_loop_delay(1'000'000, 0.5), Millis(60'000));
}
RC_GTEST_PROP(CrashLoop, TheDelayNeverShrinksMuchNorGrowsBeyondItsBound, ()) {
  const int failures = *rc::gen::inRange(1, 2'000);
  const double random = *rc::gen::inRange(0, 1'000) / 1'000.0;
  const Millis delay = crash_loop_delay(failures, random);
  RC_ASSERT(delay >= Millis(400));
  RC_ASSERT(delay <= Millis(72'000));
  RC_ASSERT(crash_loop_delay(failures + 1, random) >= delay);
}

}  // namespace
}  // namespace talaria
