#include "process/descendants.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <fstream>
#include <thread>

#include "process/reaper.h"
#include "process/test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;
using testing::SizeIs;

// Each body runs in a process of its own that adopts its orphans, so that no test's family is another's.
int alone(const std::function<int()>& body) {
  test::Forked process([&](const auto&) {
    if (!adopt_orphans()) return 100;
    const int result = body();
    return kill_descendants(Deadline::in(20s)) ? result : 101;  // whatever the test did, nothing stays behind
  });
  return process.reap();
}

// Starts a shell script in a session of its own and doesn't wait for it.
void start(const std::string& script) {
  if (::fork() != 0) return;
  ::setsid();
  ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
  ::_exit(127);
}

std::size_t living() {
  const auto all = living_descendants();
  return all ? all->size() : 1'000'000;
}

// At least that many.
void wait_for_living(std::size_t number) {
  const Deadline end = Deadline::in(20s);
  while (living() < number && !end.expired()) std::this_thread::sleep_for(2ms);
}

DescendantsEnd end_all(Millis grace, Deadline deadline, bool hurried = false) {
  asio::io_context loop;
  Event hurry(loop.get_executor());
  if (hurried) hurry.set();
  DescendantsEnd end;
  asio::co_spawn(loop, end_descendants(grace, deadline, hurry),
                 [&](const std::exception_ptr&, DescendantsEnd result) { end = std::move(result); });
  loop.run();
  return end;
}

TEST(Descendants, WithoutChildrenThereAreNone) {
  EXPECT_EQ(alone([] { return static_cast<int>(living()); }), 0);
}

TEST(Descendants, AreFoundInWhateverSessionAndHoweverDeep) {
  EXPECT_EQ(alone([] {
              // Two levels that live, a third whose parent has gone.
              start("setsid sleep 600 & setsid sh -c 'sleep 600; :' & sleep 600");
              wait_for_living(5);
              return living() == 5 ? 0 : 1;
            }),
            0);
}

TEST(Descendants, ZombiesDontCount) {
  EXPECT_EQ(alone([] {
              const pid_t pid = ::fork();
              if (pid == 0) ::_exit(0);
              siginfo_t info{};
              ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
              return static_cast<int>(living());
            }),
            0);
}

TEST(Descendants, TheFirstThreadsEndIsNotTheProcesss) {
  EXPECT_EQ(alone([] {
              const pid_t pid = ::fork();
              if (pid == 0) {
                std::thread([] { test::hang(); }).detach();
                ::syscall(SYS_exit, 0);  // of this thread alone
              }
              const std::string stat = fmt::format("/proc/{}/stat", pid);
              const Deadline end = Deadline::in(20s);
              while (!test::get(stat).contains(") Z ") && !end.expired()) std::this_thread::sleep_for(1ms);
              return living() == 1 ? 0 : 1;
            }),
            0);
}

TEST(Descendants, PoliteOnesEndByTermAndNobodyIsKilled) {
  EXPECT_EQ(alone([] {
              start("setsid sleep 600 & exec sleep 600");
              wait_for_living(2);
              const auto end = end_all(Millis{20'000}, Deadline::in(60s));
              return end.found == 2 && end.killed == 0 && end.left == 0 && living() == 0 ? 0 : 1;
            }),
            0);
}

TEST(Descendants, AStoppedOneEndsByTermToo) {
  EXPECT_EQ(alone([] {
              start("kill -STOP $$; exec sleep 600");
              const Deadline deadline = Deadline::in(20s);
              for (;;) {
                const auto all = living_descendants();
                if ((all && all->size() == 1 && all->front().state == 'T') || deadline.expired()) break;
                std::this_thread::sleep_for(2ms);
              }
              const auto end = end_all(Millis{20'000}, Deadline::in(60s));
              return end.killed == 0 && living() == 0 ? 0 : 1;
            }),
            0);
}

TEST(Descendants, StubbornOnesAreKilledAfterTheGraceAndNamed) {
  EXPECT_EQ(alone([] {
              start(
                  "trap '' TERM HUP INT; setsid sh -c \"trap '' TERM; while :; do sleep 600; done\" & while :; do "
                  "sleep 600; done");
              wait_for_living(4);
              const auto began = SteadyClock::now();
              const auto end = end_all(Millis{300}, Deadline::in(60s));
              if (SteadyClock::now() - began < 300ms) return 1;
              return end.killed > 0 && !end.names.empty() && end.left == 0 && living() == 0 ? 0 : 2;
            }),
            0);
}

TEST(Descendants, WhoIsInAHurryWaitsForNoGrace) {
  EXPECT_EQ(alone([] {
              start("trap '' TERM; while :; do sleep 600; done");
              wait_for_living(2);
              const auto end = end_all(Millis{3'600'000}, Deadline::in(60s), true);
              return end.left == 0 && living() == 0 ? 0 : 1;
            }),
            0);
}

// Hundreds of processes, each of which starts two more and goes, while we look.
TEST(Descendants, ThoseThatMultiplyAreEndedToo) {
  EXPECT_EQ(alone([] {
              // Bounded by itself, should the test fail: 3 000 forks in all.
              start(
                  "i=0; while [ $i -lt 1000 ]; do setsid sh -c 'sleep 0.05; setsid sleep 30 & setsid sleep 30 &' & "
                  "i=$((i+1)); done");
              wait_for_living(40);
              const auto end = end_all(Millis{0}, Deadline::in(60s));
              return end.left == 0 && living() == 0 ? 0 : 1;
            }),
            0);
}

TEST(Descendants, ManyTakeOneDescriptorAtATime) {
  EXPECT_EQ(alone([] {
              start("i=0; while [ $i -lt 200 ]; do setsid sleep 600 & i=$((i+1)); done; wait");
              wait_for_living(201);
              std::vector<UniqueFd> hoard;  // all but a few descriptors are in use
              for (;;) {
                UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
                if (!fd) break;
                hoard.push_back(std::move(fd));
              }
              hoard.resize(hoard.size() - 4);
              if (!kill_descendants(Deadline::in(60s))) return 1;
              return living() == 0 ? 0 : 2;
            }),
            0);
}

// A signal is for who was seen, not for whoever has the number now.
TEST(Descendants, AnotherProcessOfThatNumberIsLeftAlone) {
  EXPECT_EQ(alone([] {
              start("exec sleep 600");
              wait_for_living(1);
              auto all = living_descendants();
              if (!all || all->size() != 1) return 1;
              all->front().start_time += 1;
              if (signal_descendants(*all, SIGKILL) != 0 || living() != 1) return 2;
              all->front().start_time -= 1;
              return signal_descendants(*all, SIGKILL) == 1 ? 0 : 3;
            }),
            0);
}

}  // namespace
}  // namespace talaria
