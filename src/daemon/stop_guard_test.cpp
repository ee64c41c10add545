#include "daemon/stop_guard.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include "base/stack_dump.h"
#include "process/test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A process that arms its guard and then does what `rest` says; how it ended.
int guarded(const test::TemporaryDirectory& directory, const std::function<int(StopGuard&)>& rest, Millis limit = 50ms,
            StopGuard::Plan plan = {}) {
  test::Forked process([&](const auto&) {
    const UniqueFd said(::open(directory.file("said").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ::dup2(said.get(), STDERR_FILENO);
    prepare_stack_dump();
    StopGuard guard;
    plan.exit_code = 42;
    plan.record_file = directory.file("crash.log");
    plan.record = "talaria-crash 1\ntype stuck-stop\n";
    guard.arm(Deadline::in(limit), plan);
    return rest(guard);
  });
  return process.reap();
}

int stuck(StopGuard&) { return test::hang(); }

int wait_and_end(StopGuard& guard, SteadyClock::duration wait) {
  std::this_thread::sleep_for(wait);
  guard.disarm();
  return 3;
}

TEST(StopGuard, AProcessThatIsStuckEndsWithItsExitCodeAndSaysWhere) {
  const test::TemporaryDirectory directory;
  EXPECT_EQ(guarded(directory, stuck), 42);
  EXPECT_THAT(test::get(directory.file("said")), AllOf(HasSubstr("longer than its budget"), HasSubstr("daemon_test")));
  const std::string record = test::get(directory.file("crash.log"));
  EXPECT_THAT(record, AllOf(HasSubstr("type stuck-stop\nat 1"), HasSubstr("reason stopping took longer"),
                            HasSubstr("\nstacks\nthread "), HasSubstr("\nend talaria-crash\n")));
}

TEST(StopGuard, OneThatEndsInTimeIsLeftAlone) {
  const test::TemporaryDirectory directory;
  EXPECT_EQ(guarded(directory, [](StopGuard& guard) { return wait_and_end(guard, 1ms); }, 10min), 3);
  EXPECT_THAT(test::get(directory.file("said")), IsEmpty());
}

TEST(StopGuard, DisarmedMeansForGood) {
  const test::TemporaryDirectory directory;
  const auto rest = [](StopGuard& guard) {
    guard.disarm();
    std::this_thread::sleep_for(700ms);
    return 3;
  };
  EXPECT_EQ(guarded(directory, rest, 500ms), 3);
}

TEST(StopGuard, TheDeadlineMovesToAndFro) {
  const test::TemporaryDirectory directory;
  const auto later = [](StopGuard& guard) {
    guard.set_deadline(Deadline::in(10min));
    return wait_and_end(guard, 700ms);
  };
  EXPECT_EQ(guarded(directory, later, 500ms), 3);
  const auto sooner = [](StopGuard& guard) {
    guard.set_deadline(Deadline::in(20ms));
    return test::hang();
  };
  EXPECT_EQ(guarded(directory, sooner, 10min), 42);
}

TEST(StopGuard, AGuardThatGetsStuckItselfStillEnds) {
  const test::TemporaryDirectory directory;
  const auto began = SteadyClock::now();
  EXPECT_EQ(guarded(directory, stuck, 20ms, {.last_act = 200ms, .end_children = [] { test::hang(); }}), 42);
  EXPECT_GE(SteadyClock::now() - began, 200ms);
}

TEST(StopGuard, StandardErrorThatTakesNothingHoldsUpNobody) {
  const test::TemporaryDirectory directory;
  const test::Pipe full;
  const auto rest = [&](StopGuard&) {
    ::fcntl(full.write.get(), F_SETFL, O_NONBLOCK);
    const std::string page(4'096, 'x');
    while (::write(full.write.get(), page.data(), page.size()) > 0) {
    }
    ::fcntl(full.write.get(), F_SETFL, 0);
    ::dup2(full.write.get(), STDERR_FILENO);
    return test::hang();
  };
  EXPECT_EQ(guarded(directory, rest, 100ms, {.last_act = 60s}), 42);
  EXPECT_THAT(test::get(directory.file("crash.log")), HasSubstr("end talaria-crash"));
}

TEST(StopGuard, WithoutAThreadToBeHadTheAlarmIsThere) {
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer needs the address space that this test takes away";
#endif
#endif
  const test::TemporaryDirectory directory;
  test::Forked process([&](const auto&) {
    StopGuard guard;
    rlimit little{};
    little.rlim_cur = little.rlim_max = 4ULL << 20;  // no room for another stack
    ::setrlimit(RLIMIT_AS, &little);
    guard.arm(Deadline::in(10min), {.exit_code = 42});
    guard.set_deadline(Deadline::in(50ms));
    return test::hang();
  });
  EXPECT_EQ(process.reap(), 42);
}

TEST(StopGuard, EvidenceCanBeGivenWithoutAnEnd) {
  const test::TemporaryDirectory directory;
  const auto rest = [](StopGuard& guard) {
    guard.give_evidence("the store did not answer");
    guard.disarm();
    return 3;
  };
  EXPECT_EQ(guarded(directory, rest, 10min), 3);
  EXPECT_THAT(test::get(directory.file("crash.log")),
              AllOf(HasSubstr("reason the store did not answer\nstacks\n"), HasSubstr("end talaria-crash")));
}

}  // namespace
}  // namespace talaria
