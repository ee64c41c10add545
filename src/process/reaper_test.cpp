#include "process/reaper.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

#include "process/child.h"
#include "process/test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;

// A child that does what `body` says; its result is the exit code.
pid_t fork_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid;
}

void wait_dead(pid_t pid) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
}

// Looks only: neither running nor dead.
bool no_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD;
}

// Reaps until no child is left, as a program does that hears SIGCHLD.
int reap_all(Deadline deadline) {
  int reaped = 0;
  while (!no_children() && !deadline.expired()) {
    reaped += reap_unclaimed();
    std::this_thread::sleep_for(1ms);
  }
  return reaped;
}

TEST(Reaper, OrphansBecomeOursAndAreReaped) {
  test::Forked process([](const auto&) {
    if (!adopt_orphans()) return 1;
    const test::Pipe pipe;
    // It leaves a grandchild in a session of its own, which is told to end only when its parent is gone.
    const pid_t parent = fork_child([&] {
      fork_child([&] {
        ::setsid();
        return pipe.wait() ? 7 : 8;
      });
      return 0;
    });
    wait_dead(parent);
    if (reap_unclaimed() != 1) return 2;
    if (no_children()) return 3;  // the grandchild is our child now, and lives
    pipe.tell();
    return reap_all(Deadline::in(20s)) == 1 && no_children() ? 0 : 4;
  });
  EXPECT_EQ(process.reap(), 0);
}

TEST(Reaper, AClaimedChildIsItsOwnersAndTheOthersBehindItFollow) {
  test::Forked process([](const auto&) {
    ChildClaim claim;
    pid_t owned = -1;
    {
      ChildStart start;
      owned = fork_child([] { return 42; });
      claim = start.claim(owned);
    }
    wait_dead(owned);
    const pid_t other = fork_child([] { return 1; });
    wait_dead(other);
    for (int i = 0; i < 3; ++i) reap_unclaimed();
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(owned), &info, WEXITED | WNOHANG) != 0 || info.si_status != 42) return 1;
    claim.release();
    reap_unclaimed();
    return no_children() ? 0 : 2;
  });
  EXPECT_EQ(process.reap(), 0);
}

TEST(Reaper, ReleasingAClaimReapsWhatStoodBehindIt) {
  test::Forked process([](const auto&) {
    ChildClaim claim;
    pid_t owned = -1;
    {
      ChildStart start;
      owned = fork_child([] { return 0; });
      claim = start.claim(owned);
    }
    wait_dead(owned);
    wait_dead(fork_child([] { return 0; }));
    if (reap_unclaimed() != 0) return 1;
    ::waitpid(owned, nullptr, 0);
    claim.release();
    return no_children() ? 0 : 2;
  });
  EXPECT_EQ(process.reap(), 0);
}

// The reaper never sleeps here, on a thread of its own: whatever it could steal, it would.
TEST(Reaper, NoExitCodeIsStolen) {
  test::Forked process([](const auto&) {
    if (!adopt_orphans()) return 1;
    std::atomic<bool> done = false;
    std::thread thief([&] {
      while (!done) {
        reap_unclaimed();
        std::this_thread::sleep_for(100us);
      }
    });
    asio::io_context loop;
    int good = 0;
    constexpr int children = 40;
    for (int i = 0; i < children; ++i) {
      // Each leaves an orphan of its own behind, which dies a little later.
      ChildSpec spec{{"/bin/sh", "-c", fmt::format("setsid sleep 0.01 >&- 2>&- <&- & exit {}", i)}, {}, {}, {}};
      asio::co_spawn(loop, run_child(std::move(spec), "", 1024, Deadline::in(60s)),
                     [&good, i](const std::exception_ptr&, const Result<ChildResult>& r) {
                       if (r && r->exit_code == i) ++good;
                     });
    }
    loop.run();
    done = true;
    thief.join();
    reap_all(Deadline::in(20s));
    if (good != children) return 2;
    return no_children() ? 0 : 3;
  });
  EXPECT_EQ(process.reap(), 0);
}

// A program that can't be executed is a child for a moment, which posix_spawn() itself waits for.
TEST(Reaper, AFailedStartLeavesNothing) {
  test::Forked process([](const auto&) {
    for (int i = 0; i < 20; ++i) {
      asio::io_context loop;
      ErrorKind kind = ErrorKind::internal;
      asio::co_spawn(loop, run_child({{"/no/such/program"}, {}, {}, {}}, "", 1024, Deadline::in(30s)),
                     [&](const std::exception_ptr&, const Result<ChildResult>& r) {
                       if (!r) kind = r.error().kind;
                     });
      loop.run();
      if (kind != ErrorKind::not_found) return 1;
    }
    return no_children() ? 0 : 2;
  });
  EXPECT_EQ(process.reap(), 0);
}

}  // namespace
}  // namespace talaria
