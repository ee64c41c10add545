#include "process/child_handover.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/system_error.hpp>
#include <optional>
#include <thread>

#include "process/child.h"
#include "process/test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t megabyte = 1024 * 1024;
constexpr std::int64_t turn = 7;

// Two programs in one process: each with an event loop and a handover of its own.
class ChildHandoverTest : public testing::Test {
 protected:
  ~ChildHandoverTest() override {
    EXPECT_TRUE(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD) << "a process or zombie was left";
  }

  // The first program: runs `script` until it has printed something, and then hands it over.
  ChildInTransit hand_over(std::string script, std::string input = {}, Deadline deadline = Deadline::in(30s)) {
    asio::io_context loop;
    ChildHandover handover(loop.get_executor());
    bool cancelled = false;
    asio::co_spawn(loop,
                   run_child({{"/bin/sh", "-c", std::move(script)}, {}, {}, {}}, std::move(input), megabyte, deadline,
                             100ms, [&](std::string_view) { handover.ask(); }, {&handover, turn}),
                   [&](const std::exception_ptr& e, const Result<ChildResult>&) {
                     try {
                       if (e) std::rethrow_exception(e);
                     } catch (const boost::system::system_error& error) {
                       cancelled = error.code() == asio::error::operation_aborted;
                     }
                   });
    loop.run();
    EXPECT_TRUE(cancelled) << "whoever waited must unwind as if cancelled";
    auto left = handover.take_all();
    EXPECT_EQ(left.size(), 1u);
    return std::move(left.front());
  }

  // The next one.
  Result<ChildResult> go_on(ChildInTransit child, Deadline deadline = Deadline::in(30s)) {
    asio::io_context loop;
    ChildHandover handover(loop.get_executor());
    handover.arrived(std::move(child));
    std::optional<Result<ChildResult>> result;
    asio::co_spawn(loop,
                   run_child({{"/no/such/program"}, {}, {}, {}}, "not for it", megabyte, deadline, 100ms,
                             [this](std::string_view piece) { pieces += piece; }, {&handover, turn}),
                   [&](const std::exception_ptr& e, Result<ChildResult> r) {
                     EXPECT_FALSE(e);
                     result = std::move(r);
                   });
    loop.run();
    return result.value();
  }

  test::TemporaryDirectory directory;
  std::string pieces;
};

TEST_F(ChildHandoverTest, InputOutputErrorsAndExitCodeGoOn) {
  const std::string gate = directory.file("gate");
  // More input than a pipe holds, so that the rest of it has to go over too.
  auto child = hand_over("echo oops >&2; echo begun; until [ -e " + gate + " ]; do sleep 0.01; done; wc -c; exit 3",
                         std::string(300'000, 'x'));
  EXPECT_EQ(child.output, "begun\n");
  EXPECT_GT(child.input.size(), 0u);
  EXPECT_LT(child.input.size(), 300'000u);
  test::put(gate, "");
  const auto result = go_on(std::move(child));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->out, "begun\n300000\n");
  EXPECT_EQ(pieces, result->out);
  EXPECT_EQ(result->err_tail, "oops\n");
  EXPECT_EQ(result->exit_code, 3);
}

TEST_F(ChildHandoverTest, OneThatEndsOnTheWayKeepsItsWordsAndItsExitCode) {
  const std::string gate = directory.file("gate");
  auto child = hand_over("echo begun; until [ -e " + gate + " ]; do sleep 0.01; done; echo last; exit 5");
  test::put(gate, "");
  siginfo_t info{};  // a zombie from here on
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT), 0);
  const auto result = go_on(std::move(child));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->out, "begun\nlast\n");
  EXPECT_EQ(result->exit_code, 5);
}

TEST_F(ChildHandoverTest, ItsOwnDeadlineHolds) {
  auto child = hand_over("echo begun; exec sleep 100", {}, Deadline::in(500ms));
  const auto result = go_on(std::move(child), Deadline::in(50s));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
}

TEST_F(ChildHandoverTest, OneThatNobodyTakesUpIsEnded) {
  pid_t pid = 0;
  {
    const auto child = hand_over("echo begun; exec sleep 100");
    pid = child.pid;
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

// A child that nobody could find again is not left behind; it ends, or is waited for, as ever.
TEST_F(ChildHandoverTest, OneThatIsNotWantedOrWhoseTimeIsUpIsEnded) {
  asio::io_context loop;
  for (const bool in_time : {true, false}) {
    ChildHandover handover(loop.get_executor());
    handover.arrived(hand_over("echo; sleep 100", {}, Deadline::in(in_time ? 30s : 1s)));
    EXPECT_THAT(handover.waiting(), testing::ElementsAre(turn));
    EXPECT_EQ(handover.end_unwanted({turn}), 0);
    if (!in_time) std::this_thread::sleep_for(1s);  // its time goes by
    EXPECT_EQ(handover.end_unwanted(in_time ? std::vector<std::int64_t>{turn + 1} : std::vector<std::int64_t>{turn}),
              1);
    EXPECT_THAT(handover.waiting(), testing::IsEmpty());
  }
}

TEST_F(ChildHandoverTest, OneWithoutANumberStays) {
  asio::io_context loop;
  ChildHandover handover(loop.get_executor());
  handover.ask();
  std::optional<Result<ChildResult>> result;
  asio::co_spawn(loop,
                 run_child({{"/bin/sh", "-c", "sleep 0.1; echo done"}, {}, {}, {}}, {}, megabyte, Deadline::in(30s),
                           100ms, {}, {&handover, 0}),
                 [&](const std::exception_ptr& e, Result<ChildResult> r) {
                   EXPECT_FALSE(e);
                   result = std::move(r);
                 });
  loop.run();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ((*result)->out, "done\n");
  EXPECT_TRUE(handover.take_all().empty());
}

}  // namespace
}  // namespace talaria
