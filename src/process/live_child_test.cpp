#include "process/live_child.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>

#include "process/process_group.h"
#include "process/test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;

ChildSpec shell(std::string script) { return {{"/bin/sh", "-c", std::move(script)}, {}, {}, {}}; }

class LiveChildTest : public testing::Test {
 protected:
  ~LiveChildTest() override {
    EXPECT_TRUE(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD) << "a process or zombie was left";
  }
  template <class Body>
  void with(std::string script, Body body) {
    asio::io_context loop{1};
    bool done = false;
    auto child = LiveChild::start(loop.get_executor(), shell(std::move(script)));
    ASSERT_TRUE(child) << child.error().what;
    asio::co_spawn(loop, body(**child), [&](std::exception_ptr bug) {
      if (bug) std::rethrow_exception(bug);
      done = true;
    });
    loop.run_for(20s);
    EXPECT_TRUE(done);
  }
  static Task<std::string> read_until(LiveChild& child, std::string end) {
    std::string text;
    while (!text.ends_with(end) && co_await child.read_some(LiveChild::Stream::out, text) > 0) {
    }
    co_return text;
  }
};

TEST_F(LiveChildTest, IsTalkedWith) {
  with("while read line; do echo \"<$line>\"; done; echo bye; exit 3", [](LiveChild& child) -> Task<> {
    EXPECT_TRUE(co_await child.write_all("one\n", Deadline::in(5s)));
    EXPECT_EQ(co_await read_until(child, "\n"), "<one>\n");
    EXPECT_TRUE(co_await child.write_all("two\n", Deadline::in(5s)));
    EXPECT_EQ(co_await read_until(child, "\n"), "<two>\n");
    EXPECT_FALSE(co_await child.exited(Deadline::in(1ms)));
    child.close_input();
    EXPECT_EQ(co_await read_until(child, "bye\n"), "bye\n");
    std::string rest;
    EXPECT_EQ(co_await child.read_some(LiveChild::Stream::out, rest), 0U);
    EXPECT_EQ((co_await child.end(5s, 1s)).exit_code, 3);
  });
}

TEST_F(LiveChildTest, OneThatIsTracedIsReapedWhenItsTracerLetsGo) {
  with("echo $$; read line; exit 4", [](LiveChild& child) -> Task<> {
    EXPECT_NE(co_await read_until(child, "\n"), "");
    test::SlowTracer tracer(child.pid());
    EXPECT_TRUE(co_await child.write_all("on\n", Deadline::in(5s)));
    EXPECT_EQ((co_await child.end(5s, 1s)).exit_code, 4);
    if (tracer.ready()) EXPECT_EQ(tracer.reap(), 0);
  });
}

TEST_F(LiveChildTest, OneThatReadsNothingIsGivenUp) {
  with("exec sleep 100", [](LiveChild& child) -> Task<> {
    const auto written = co_await child.write_all(std::string(1'000'000, 'x'), Deadline::in(50ms));
    EXPECT_TRUE(!written && written.error().kind == ErrorKind::timeout);
    EXPECT_EQ((co_await child.end(10ms, 1s)).signal, SIGTERM);
  });
}

TEST_F(LiveChildTest, OneThatIsGoneRaisesNoSignal) {
  with("exit 0", [](LiveChild& child) -> Task<> {
    EXPECT_TRUE(co_await child.exited(Deadline::in(5s)));
    const auto written = co_await child.write_all("x", Deadline::in(5s));
    EXPECT_TRUE(!written && written.error().kind == ErrorKind::unavailable);
    EXPECT_EQ((co_await child.end(1s, 1s)).exit_code, 0);
  });
}

TEST_F(LiveChildTest, EndsWithItsGroupHoweverStubborn) {
  with("trap '' TERM; (trap '' TERM; sleep 100) & echo up; while :; do sleep 100; done",
       [](LiveChild& child) -> Task<> {
         EXPECT_EQ(co_await read_until(child, "\n"), "up\n");
         const pid_t group = child.pid();
         EXPECT_EQ((co_await child.end(10ms, 100ms)).signal, SIGKILL);
         EXPECT_FALSE(group_lives(group));
       });
  // The shell's child is an orphan of ours only where this process is a subreaper.
}

TEST_F(LiveChildTest, IsKilledWithItsHandle) {
  asio::io_context loop{1};
  auto child = LiveChild::start(loop.get_executor(), shell("trap '' TERM; exec sleep 100"));
  ASSERT_TRUE(child);
}

}  // namespace
}  // namespace talaria
