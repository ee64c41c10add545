#include "lifecycle/crash_loop.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace talaria {
namespace {

constexpr UnixMillis now = 1'800'000'000'000;

RunRow ended(std::string verdict, std::string evidence, UnixMillis at = now - 1'000, bool was_ready = true) {
  RunRow run;
  run.verdict = std::move(verdict);
  run.evidence = std::move(evidence);
  run.ended_at = at;
  if (was_ready) run.ready_at = at - 500;
  return run;
}
RunRow segfault(UnixMillis at = now - 1'000) {
  return ended("crash", R"({"service_result":"signal","exit_code":"killed","exit_status":"SEGV"})", at);
}
RunRow killed() { return ended("crash", R"({"service_result":"signal","exit_code":"killed","exit_status":"KILL"})"); }

TEST(CrashLoop, WhatCounts) {
  EXPECT_EQ(weigh(segfault()), EndWeight::failure);
  EXPECT_EQ(weigh(killed()), EndWeight::outside);
  EXPECT_EQ(weigh(ended("crash", R"({"boot_id_changed":false})")), EndWeight::outside);
  EXPECT_EQ(weigh(ended("crash", R"({"fatal_signal":"SIGSEGV"})")), EndWeight::failure);
  EXPECT_EQ(weigh(ended("crash", R"({"service_result":"oom-kill","exit_status":"KILL"})")), EndWeight::failure);
  EXPECT_EQ(weigh(ended("crash", R"({"service_result":"watchdog","exit_status":"ABRT"})")), EndWeight::failure);
  EXPECT_EQ(weigh(ended("unplanned", R"({"signal":"SIGTERM"})")), EndWeight::outside);
  EXPECT_EQ(weigh(ended("unplanned", "{}")), EndWeight::failure);
  EXPECT_EQ(weigh(ended("unplanned", "rubbish")), EndWeight::failure);
  for (const char* verdict : {"planned", "restart", "replaced", "config", "upgrade"})
    EXPECT_EQ(weigh(ended(verdict, "{}")), EndWeight::planned) << verdict;
}

TEST(CrashLoop, WhoNeverGetsReadyFailsHoweverItEnds) {
  RunRow run = killed();
  run.ready_at.reset();
  EXPECT_EQ(weigh(run), EndWeight::failure);
}

TEST(CrashLoop, CountsTheRowAndNoMore) {
  const std::vector<RunRow> runs{segfault(), killed(), segfault(), ended("planned", "{}"), segfault()};
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
