#include "lifecycle/watchdog.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace talaria {
namespace {

using namespace std::chrono_literals;

constexpr Millis period{1'000};

// A process that is looked at once a period.
class Process {
 public:
  WatchFinding look(SteadyClock::duration after = period) {
    facts_.at += after;
    return watch_.look(facts_);
  }
  std::string stuck_after(int looks) {
    for (int i = 1; i < looks; ++i) look();
    return look().stuck;
  }
  StoreFacts& store() {
    if (!facts_.store) facts_.store.emplace();
    return *facts_.store;
  }
  ControlFact& control() { return facts_.control; }

 private:
  ProgressWatch watch_{period};
  WatchFacts facts_;
};

TEST(WatchPeriod, AQuarterOfTheManagersPatienceAndAtMostTenSeconds) {
  EXPECT_EQ(watch_period(60s), 10s);
  EXPECT_EQ(watch_period(4s), 1s);
  EXPECT_EQ(watch_period(0s), 10s);
  EXPECT_GT(watch_period(1ms), 0ms);
}

TEST(ProgressWatch, JobsThatNobodyTakesAreStuck) {
  Process process;
  process.store().waiting = 3;
  EXPECT_EQ(process.stuck_after(3), "");
  EXPECT_NE(process.look().stuck.find("takes none of 3"), std::string::npos);
  ++process.store().steps;
  EXPECT_EQ(process.look().stuck, "");
}

TEST(ProgressWatch, AnIdleStoreIsNot) {
  Process process;
  process.store();
  EXPECT_EQ(process.stuck_after(20), "");
}

TEST(ProgressWatch, AJobThatSpinsIsStuck) {
  Process process;
  process.store().busy = true;
  process.look();
  for (int i = 0; i < 2; ++i) {
    process.store().cpu += 900ms;
    EXPECT_EQ(process.look().stuck, "");
  }
  process.store().cpu += 900ms;
  EXPECT_NE(process.look().stuck.find("spins"), std::string::npos);
}

TEST(ProgressWatch, ASlowDiskIsToldAndNoReason) {
  Process process;
  process.store().busy = true;
  process.store().waiting = 100;
  for (int i = 0; i < 100; ++i) {
    process.store().cpu += 1ms;  // what waking up now and then costs
    const WatchFinding finding = process.look();
    EXPECT_EQ(finding.stuck, "");
    EXPECT_EQ(finding.slow.empty(), i < 3) << i;
  }
}

TEST(ProgressWatch, ALongBatchThatMovesIsNot) {
  Process process;
  process.store().busy = true;
  for (int i = 0; i < 20; ++i) {
    process.store().cpu += 1s;
    ++process.store().steps;
    EXPECT_EQ(process.look().stuck, "");
  }
}

TEST(ProgressWatch, ASilentControlSocketIsStuckAndAFullOneIsNot) {
  Process process;
  process.control() = ControlFact::silent;
  EXPECT_EQ(process.stuck_after(2), "");
  EXPECT_EQ(process.look().stuck, "the control socket does not answer");
  process.control() = ControlFact::unknown;
  EXPECT_EQ(process.look().stuck, "");
  process.control() = ControlFact::lost;
  EXPECT_NE(process.stuck_after(3), "");
  process.control() = ControlFact::answered;
  EXPECT_EQ(process.look().stuck, "");
}

// SIGSTOP and SIGCONT between any two looks, for however long: whoever was stopped was not stuck.
RC_GTEST_PROP(ProgressWatchProperty, BeingStoppedIsNoReason, ()) {
  Process process;
  const int looks = *rc::gen::inRange(1, 40);
  int since_stop = 0;
  for (int i = 0; i < looks; ++i) {
    const bool stopped = *rc::gen::arbitrary<bool>();
    // A job goes on over the stop, and a question may be unanswered because of it.
    process.store().busy = true;
    process.store().cpu += *rc::gen::inRange(0, 900) * 1ms;
    process.control() = stopped ? ControlFact::silent : *rc::gen::element(ControlFact::answered, ControlFact::silent);
    since_stop = stopped ? 0 : since_stop + 1;
    const WatchFinding finding = process.look(stopped ? std::chrono::hours(*rc::gen::inRange(1, 100)) : period);
    if (since_stop + 1 < patient_looks) RC_ASSERT(finding.stuck.empty());
  }
}

TEST(LoopWatch, StuckIsToldOnce) {
  LoopWatch watch;
  EXPECT_FALSE(watch.look(1, 1));
  EXPECT_FALSE(watch.look(2, 1));  // SIGCONT: everybody wakes at once, the loop has not had its turn
  EXPECT_FALSE(watch.look(2, 2));
  EXPECT_FALSE(watch.look(3, 2));
  EXPECT_TRUE(watch.look(3, 2));
  EXPECT_TRUE(watch.stuck());
  EXPECT_FALSE(watch.look(3, 2));
  EXPECT_FALSE(watch.look(3, 3));
  EXPECT_FALSE(watch.stuck());
}

}  // namespace
}  // namespace talaria
