#include "process/child.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <fstream>
#include <optional>
#include <thread>

#include "process/spawn.h"
#include "process/test_support.h"
#include "runtime/event.h"
#include "runtime/task_group.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::size_t megabyte = 1024 * 1024;

ChildSpec shell(std::string script) { return {{"/bin/sh", "-c", std::move(script)}, {}, {}, {}}; }

// No child of this process is left, running or zombie.
bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

// Every process (zombies not counted) whose group is `group`.
std::vector<std::string> members_of(pid_t group) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (!std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0]))) continue;
    const std::string text = test::get(entry.path() / "stat");
    const auto close = text.rfind(')');
    if (close == std::string::npos) continue;
    char state = 0;
    int parent = 0;
    int its_group = 0;
    if (::sscanf(text.c_str() + close + 1, " %c %d %d", &state, &parent, &its_group) == 3 && its_group == group &&
        state != 'Z')
      found.push_back(text);
  }
  return found;
}

class ChildTest : public testing::Test {
 protected:
  ~ChildTest() override { EXPECT_TRUE(no_children()) << "a process or zombie was left"; }

  Result<ChildResult> run(ChildSpec spec, std::string input = {}, std::size_t max_output = megabyte,
                          Deadline deadline = Deadline::in(30s), Millis grace = Millis{2'000},
                          std::function<void(std::string_view)> on_output = {}) {
    std::optional<Result<ChildResult>> result;
    asio::co_spawn(loop,
                   run_child(std::move(spec), std::move(input), max_output, deadline, grace, std::move(on_output)),
                   [&](const std::exception_ptr& e, Result<ChildResult> r) {
                     EXPECT_FALSE(e);
                     result = std::move(r);
                   });
    loop.restart();
    loop.run();
    return result.value();
  }

  asio::io_context loop;
};

TEST_F(ChildTest, InputOutputErrorsAndExitCode) {
  std::string pieces;
  const auto result = run(shell("cat; echo oops >&2; exit 3"), "hello\n", megabyte, Deadline::in(30s), 2'000ms,
                          [&](std::string_view piece) { pieces += piece; });
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->out, "hello\n");
  EXPECT_EQ(pieces, "hello\n");
  EXPECT_EQ(result->err_tail, "oops\n");
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->signal, 0);
  EXPECT_FALSE(result->truncated);
}

TEST_F(ChildTest, AFatalSignalIsReported) {
  const auto result = run(shell("kill -SEGV $$"));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->exit_code, -1);
  EXPECT_EQ(result->signal, SIGSEGV);
}

TEST_F(ChildTest, WhatCantBeStarted) {
  const test::TemporaryDirectory directory;
  test::put(directory.file("text"), "just text");
  ASSERT_EQ(::chmod(directory.file("text").c_str(), 0755), 0);
  const auto before = test::open_descriptors();

  auto result = run({{"/no/such/program"}, {}, {}, {}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::not_found);
  EXPECT_THAT(result.error().what, HasSubstr("/no/such/program"));
  // A directory of PATH that we may not enter would make it "permission denied" (execvp(3)).
  const std::string path = ::getenv("PATH");
  ::setenv("PATH", "/usr/bin:/bin", 1);
  result = run({{"no-such-program-in-path"}, {}, {}, {}});
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(result.error().kind, ErrorKind::not_found);
  result = run({{"/etc/passwd"}, {}, {}, {}});
  EXPECT_EQ(result.error().kind, ErrorKind::permission);
  result = run({{directory.file("text")}, {}, {}, {}});
  EXPECT_EQ(result.error().kind, ErrorKind::invalid);
  EXPECT_THAT(result.error().what, HasSubstr("#!"));
  result = run({{"true"}, {}, {}, "/no/such/directory"});
  EXPECT_THAT(result.error().what, HasSubstr("/no/such/directory"));
  result = run({{"true", std::string(8 * megabyte, 'x')}, {}, {}, {}});
  EXPECT_EQ(result.error().kind, ErrorKind::invalid);
  EXPECT_THAT(result.error().what, HasSubstr("too long"));
  EXPECT_EQ(run({}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(run({{""}, {}, {}, {}}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(run({{"echo", std::string("a\0b", 3)}, {}, {}, {}}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(run({{"echo"}, {"NO_EQUALS_SIGN"}, {}, {}}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(run({{"echo"}, {"=x"}, {}, {}}).error().kind, ErrorKind::invalid);
  EXPECT_EQ(run({{"true"}, {}, {}, {}}, "", 1, Deadline::in(-1s)).error().kind, ErrorKind::timeout);
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_F(ChildTest, TheEnvironment) {
  ::setenv("NOTIFY_SOCKET", "/run/x", 1);
  ::setenv("WATCHDOG_USEC", "1", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("TALARIA_TEST_SECRET", "secret", 1);
  ::setenv("TALARIA_TEST_KEPT", "kept", 1);
  ::setenv("TALARIA_TEST_CHANGED", "old", 1);
  ChildSpec spec{{"env"}, {"TALARIA_TEST_CHANGED=new", "TALARIA_TEST_ADDED=a=b"}, {"TALARIA_TEST_SECRET"}, {}};
  const auto result = run(spec);
  ASSERT_TRUE(result);
  std::vector<std::string> lines;
  std::istringstream in(result->out);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  EXPECT_THAT(lines, AllOf(Contains("TALARIA_TEST_KEPT=kept"), Contains("TALARIA_TEST_CHANGED=new"),
                           Contains("TALARIA_TEST_ADDED=a=b")));
  for (const char* name :
       {"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_", "TALARIA_TEST_SECRET=", "TALARIA_TEST_CHANGED=old"})
    EXPECT_THAT(lines, Not(Contains(StartsWith(name))));
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "TALARIA_TEST_SECRET",
                           "TALARIA_TEST_KEPT", "TALARIA_TEST_CHANGED"})
    ::unsetenv(name);
}

TEST_F(ChildTest, WorkingDirectory) {
  const auto result = run({{"pwd"}, {}, {}, "/usr"});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->out, "/usr\n");
}

TEST_F(ChildTest, BeginsWithCleanSignalsAndDescriptorsInAGroupOfItsOwn) {
  // As the daemon does: signals blocked for signalfd, SIGPIPE ignored. And somebody forgot close-on-exec.
  sigset_t blocked;
  sigset_t before;
  ::sigemptyset(&blocked);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) ::sigaddset(&blocked, number);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  auto* const old = ::signal(SIGPIPE, SIG_IGN);
  const UniqueFd leaky(::open("/dev/null", O_RDONLY));  // NOLINT: the missing O_CLOEXEC is the point
  const auto result =
      run(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/$$/fd; cut -d' ' -f1,5 /proc/$$/stat"));
  ::signal(SIGPIPE, old);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(result);
  // glibc leaves its own two signals, 32 and 33, ignored (nptl, spawni.c).
  EXPECT_THAT(result->out, testing::MatchesRegex("SigBlk:\t0000000000000000\nSigIgn:\t0000000[01]80000000\n(.|\n)*"));
  std::istringstream in(result->out.substr(result->out.find("SigIgn") + 24));
  std::vector<std::string> words{std::istream_iterator<std::string>(in), {}};
  ASSERT_EQ(words.size(), 5U) << result->out;
  EXPECT_EQ(std::vector<std::string>(words.begin(), words.begin() + 3), (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(words[3], words[4]) << "its group is its own";
}

TEST_F(ChildTest, WorksWithOurStandardStreamsClosed) {
  test::Forked process([](const auto&) {
    ::close(0);
    ::close(1);
    ::close(2);
    asio::io_context inner;
    std::string out;
    std::string err;
    asio::co_spawn(inner, run_child(shell("cat; echo err >&2"), "through", megabyte, Deadline::in(30s)),
                   [&](const std::exception_ptr&, const Result<ChildResult>& r) {
                     if (!r) return;
                     out = r->out;
                     err = r->err_tail;
                   });
    inner.run();
    return out == "through" && err == "err\n" ? 0 : 1;
  });
  EXPECT_EQ(process.reap(), 0);
}

TEST_F(ChildTest, NoPipeTakesThePlaceOfAClosedStandardStream) {
  test::Forked process([](const auto&) {
    for (const int fd : {0, 1, 2}) ::close(fd);
    const auto spawned = spawn_group({{"true"}, {}, {}, {}});
    if (!spawned) return 1;
    ::waitpid(spawned->pid, nullptr, 0);
    return spawned->in.get() > 2 && spawned->out.get() > 2 && spawned->err.get() > 2 ? 0 : 2;
  });
  EXPECT_EQ(process.reap(), 0);
}

TEST_F(ChildTest, AChildThatNeverReadsItsInput) {
  const auto start = SteadyClock::now();
  const auto result = run(shell("exit 0"), std::string(megabyte, 'x'));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_LT(SteadyClock::now() - start, 10s);
}

// The same when a write has already been cut off by the pipe's end, with SIGPIPE at its default: it must not kill us.
TEST_F(ChildTest, AChildThatClosesItsInputHalfway) {
  const auto result = run(shell("head -c 70000 >/dev/null; exec 0<&-; echo done"), std::string(megabyte, 'x'));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->out, "done\n");
  sigset_t pending;
  ::sigpending(&pending);
  EXPECT_EQ(::sigismember(&pending, SIGPIPE), 0) << "the signal must not wait for whoever unblocks it";
}

TEST_F(ChildTest, InputAndOutputBothLargerThanAnyPipe) {
  std::string input;
  while (input.size() < 3 * megabyte) input += fmt::format("{}\n", input.size());
  const auto result = run({{"cat"}, {}, {}, {}}, input, 4 * megabyte);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_TRUE(result->out == input);
}

TEST_F(ChildTest, AChildThatClosesItsOutputEarlyIsWaitedFor) {
  const auto result = run(shell("echo early; exec 1>&- 2>&-; cat >/dev/null; exit 7"), "x");
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->out, "early\n");
  EXPECT_EQ(result->exit_code, 7);
}

TEST_F(ChildTest, OutputLimit) {
  std::size_t seen = 0;
  const auto result = run({{"yes"}, {}, {}, {}}, "", 100'000, Deadline::in(30s), 2'000ms,
                          [&](std::string_view piece) { seen += piece.size(); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::limit);
  EXPECT_EQ(seen, 100'000U);
  const auto exact = run(shell("head -c 100000 /dev/zero"), "", 100'000);
  ASSERT_TRUE(exact) << exact.error().what;
  EXPECT_EQ(exact->out.size(), 100'000U);
  EXPECT_EQ(run(shell("head -c 100001 /dev/zero"), "", 100'000).error().kind, ErrorKind::limit);
}

TEST_F(ChildTest, OnlyTheTailOfTheErrorsIsKept) {
  const auto result = run(shell("yes error | head -c 1000000 >&2; echo last >&2"));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->err_tail.size(), 4096U);
  EXPECT_TRUE(result->err_tail.ends_with("last\n"));
}

TEST_F(ChildTest, AtTheDeadlineTermComesFirst) {
  const test::TemporaryDirectory directory;
  const auto script =
      fmt::format("trap 'echo term >{}; exit 0' TERM; echo ready; while :; do read x </dev/tty; sleep 0.01; done",
                  directory.file("seen"));
  const auto result = run(shell(script), "", megabyte, Deadline::in(300ms));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
  EXPECT_EQ(test::get(directory.file("seen")), "term\n");
}

TEST_F(ChildTest, WhoIgnoresTermIsKilled) {
  const auto start = SteadyClock::now();
  const auto result =
      run(shell("trap '' TERM; while :; do sleep 1000; done"), "", megabyte, Deadline::in(100ms), 200ms);
  const auto took = SteadyClock::now() - start;
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
  EXPECT_GE(took, 300ms);
  EXPECT_LT(took, 3s);
}

TEST_F(ChildTest, AStoppedChildHearsTermToo) {
  const auto start = SteadyClock::now();
  const auto result = run(shell("kill -STOP $$"), "", megabyte, Deadline::in(100ms), 20'000ms);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
  EXPECT_LT(SteadyClock::now() - start, 15s) << "only SIGKILL ended it";
}

// Writes its PID, so that the test can look for its group afterwards.
std::string whose_group(const test::TemporaryDirectory& directory) {
  return fmt::format("echo $$ >{}; ", directory.file("pid"));
}
pid_t group_in(const test::TemporaryDirectory& directory) {
  return std::atoi(test::get(directory.file("pid")).c_str());
}

TEST_F(ChildTest, GrandchildrenGoWithTheirGroup) {
  const test::TemporaryDirectory directory;
  // Double fork: the middle one ends at once, the last one ignores TERM and holds our pipes open.
  const auto start = SteadyClock::now();
  const auto result =
      run(shell(whose_group(directory) + "( (trap '' TERM; echo grand; while :; do sleep 1000; done) & ) ; exit 0"));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_EQ(result->out, "grand\n");
  EXPECT_TRUE(result->truncated);
  ASSERT_GT(group_in(directory), 1);
  EXPECT_THAT(members_of(group_in(directory)), testing::IsEmpty());
  EXPECT_GE(SteadyClock::now() - start, 200ms);
  EXPECT_LT(SteadyClock::now() - start, 5s);
}

TEST_F(ChildTest, WhoWritesAfterItsParentsEndIsHeard) {
  const auto result = run(shell("(sleep 0.05; echo late) & exit 0"));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->out, "late\n");
  EXPECT_FALSE(result->truncated);
}

// A group with an orphan that is killed with it: does run_child() come back soon, whoever the new parent is?
int run_with_orphan() {
  asio::io_context inner;
  const auto start = SteadyClock::now();
  bool good = false;
  asio::co_spawn(inner, run_child(shell("sleep 1000 & exit 0"), "", megabyte, Deadline::in(30s)),
                 [&](const std::exception_ptr&, const Result<ChildResult>& r) { good = r && r->exit_code == 0; });
  inner.run();
  return good && SteadyClock::now() - start < 900ms ? 0 : 1;
}

TEST_F(ChildTest, AnAdoptedOrphanLeavesNoZombie) {
  test::Forked subreaper([](const auto&) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (run_with_orphan() != 0) return 1;
    return no_children() ? 0 : 2;
  });
  EXPECT_EQ(subreaper.reap(), 0);
}

TEST_F(ChildTest, AZombieThatNobodyReapsIsNotWaitedFor) {
  test::Forked careless([](const auto&) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    test::Forked runner([](const auto&) { return run_with_orphan(); });
    const int result = runner.reap();
    // Or else this test has shown nothing.
    siginfo_t info{};
    const bool had_zombie = ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0;
    return had_zombie ? result : 3;
  });
  EXPECT_EQ(careless.reap(), 0);
}

TEST_F(ChildTest, WhoIsTracedIsReapedWhenItsTracerLetsGo) {
  const test::TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo(directory.file("go").c_str(), 0600), 0);
  std::optional<test::SlowTracer> tracer;
  const auto result = run(shell(fmt::format("echo $$; read line <{}; exit 4", directory.file("go"))), "", megabyte,
                          Deadline::in(30s), Millis{2'000}, [&](std::string_view pid) {
                            tracer.emplace(std::stoi(std::string(pid)));
                            test::put(directory.file("go"), "on\n");
                          });
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->exit_code, 4);
  if (!tracer->ready()) GTEST_SKIP() << "nobody may trace here";
  EXPECT_EQ(tracer->reap(), 0);
}

TEST_F(ChildTest, WhoLeavesTheGroupCantHoldUsUp) {
  const test::TemporaryDirectory directory;
  const auto start = SteadyClock::now();
  const auto result =
      run(shell(fmt::format("setsid sh -c 'echo $$ >{}; exec sleep 1000' & while [ ! -s {} ]; do sleep 0.01; done",
                            directory.file("pid"), directory.file("pid"))));
  EXPECT_LT(SteadyClock::now() - start, 5s);
  const pid_t runaway = group_in(directory);
  ASSERT_GT(runaway, 1);
  ::kill(runaway, SIGKILL);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_TRUE(result->truncated);
}

TEST_F(ChildTest, CancellationEndsTheGroupBeforeItReturns) {
  const test::TemporaryDirectory directory;
  const auto before = test::open_descriptors();
  {
    asio::io_context inner;
    const auto test = [&]() -> Task<> {
      const auto executor = co_await asio::this_coro::executor;
      bool ended_normally = false;
      Event ready(executor);
      TaskGroup group(executor, [](auto task, auto what) { ADD_FAILURE() << task << ": " << what; });
      const auto body = [&]() -> Task<> {
        (void)co_await run_child(
            shell(whose_group(directory) +
                  fmt::format("(trap '' TERM; exec sleep 1000) >/dev/null 2>&1 & trap 'echo term >{}; exit 0' TERM; "
                              "echo ready; while :; do sleep 0.01; done",
                              directory.file("seen"))),
            "", megabyte, Deadline::never(), 10'000ms, [&](std::string_view) { ready.set(); });
        // Cancellation shows here at the latest.
        co_await sleep_for(1ms);
        ended_normally = true;
      };
      group.spawn("child", body());
      EXPECT_TRUE(co_await ready.wait(Deadline::in(20s)));
      EXPECT_TRUE(co_await group.stop(Deadline::in(20s)));
      EXPECT_FALSE(ended_normally);
      // TERM was heard, and now nobody is left.
      EXPECT_EQ(test::get(directory.file("seen")), "term\n");
      EXPECT_THAT(members_of(group_in(directory)), testing::IsEmpty());
      EXPECT_TRUE(no_children());
    };
    bool done = false;
    asio::co_spawn(inner, test(), [&](const std::exception_ptr& e) { done = !e; });
    inner.run();
    EXPECT_TRUE(done);
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_F(ChildTest, CancellationAtAnyMomentLeavesNothing) {
  for (int turns = 0; turns < 40; ++turns) {
    asio::io_context inner;
    TaskGroup group(inner.get_executor(), [](auto task, auto what) { ADD_FAILURE() << task << ": " << what; });
    const auto body = []() -> Task<> {
      (void)co_await run_child(shell("echo 1; sleep 0.02; echo 2; cat"), std::string(200'000, 'x'), megabyte,
                               Deadline::never(), 1'000ms);
    };
    group.spawn("child", body());
    for (int i = 0; i < turns; ++i) inner.run_one_for(5ms);
    asio::post(inner, [&] { group.cancel(); });  // on the loop's thread, as always
    inner.run();
    EXPECT_EQ(group.size(), 0U);
    EXPECT_TRUE(no_children()) << turns;
  }
}

TEST_F(ChildTest, ADeadEventLoopTakesItsChildrenWithIt) {
  const test::TemporaryDirectory directory;
  {
    asio::io_context inner;
    asio::co_spawn(inner,
                   run_child(shell(whose_group(directory) + "trap '' TERM; echo go; while :; do sleep 1000; done"), "",
                             megabyte, Deadline::never(), 1'000ms, [&](std::string_view) { inner.stop(); }),
                   [](const std::exception_ptr&, const Result<ChildResult>&) { ADD_FAILURE() << "it must not end"; });
    inner.run();
    ASSERT_GT(group_in(directory), 1);
    EXPECT_FALSE(members_of(group_in(directory)).empty());
  }
  EXPECT_TRUE(no_children());
  // The destructor waits for the leader; the others have their SIGKILL too and need a moment to die of it.
  const Deadline end = Deadline::in(10s);
  while (!members_of(group_in(directory)).empty() && !end.expired()) std::this_thread::yield();
  EXPECT_THAT(members_of(group_in(directory)), testing::IsEmpty());
}

TEST_F(ChildTest, ManyAtOnce) {
  const auto before = test::open_descriptors();
  {
    asio::io_context inner;
    int good = 0;
    for (int i = 0; i < 40; ++i)
      asio::co_spawn(inner, run_child({{"cat"}, {}, {}, {}}, fmt::format("{}", i), megabyte, Deadline::in(60s)),
                     [&good, i](const std::exception_ptr&, const Result<ChildResult>& r) {
                       if (r && r->out == fmt::format("{}", i)) ++good;
                     });
    inner.run();
    EXPECT_EQ(good, 40);
  }
  EXPECT_EQ(test::open_descriptors(), before);
}

TEST_F(ChildTest, WithoutDescriptorsItSaysSo) {
  test::Forked process([](const auto&) {
    asio::io_context inner;
    ErrorKind kind = ErrorKind::internal;
    std::vector<UniqueFd> hoard;
    asio::co_spawn(inner, run_child({{"true"}, {}, {}, {}}, "", megabyte, Deadline::in(30s)),
                   [&](const std::exception_ptr&, const Result<ChildResult>& r) {
                     if (!r) kind = r.error().kind;
                   });
    for (;;) {
      UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!fd) break;
      hoard.push_back(std::move(fd));
    }
    hoard.resize(hoard.size() - 3);  // enough for one pipe, not for three
    inner.run();
    return kind == ErrorKind::unavailable ? 0 : 1;
  });
  EXPECT_EQ(process.reap(), 0);
}

}  // namespace
}  // namespace talaria
