#include "runtime/task_group.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <optional>
#include <stdexcept>

namespace talaria {
namespace {

// Runs a story to its end on a loop of its own; a hang fails.
void run(const std::function<Task<>(asio::any_io_executor)>& story) {
  asio::io_context loop(1);
  bool ended = false;
  asio::co_spawn(loop, story(loop.get_executor()), [&](std::exception_ptr bug) {
    if (bug) std::rethrow_exception(bug);
    ended = true;
    loop.stop();
  });
  loop.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(ended) << "the story hangs";
}

Task<> wait_for(Event& event, bool& woken) { woken = co_await event.wait(); }

TEST(Event, SetStaysAndPulseDoesNot) {
  run([](asio::any_io_executor executor) -> Task<> {
    Event event(executor);
    TaskGroup group(executor);
    bool woken = false;
    group.spawn("waiter", wait_for(event, woken));
    co_await asio::post(executor, asio::use_awaitable);
    event.pulse();
    co_await group.join();
    EXPECT_TRUE(woken);
    EXPECT_FALSE(co_await event.wait(Deadline::in(Millis{1}))) << "a pulse is not kept";
    event.set();
    EXPECT_TRUE(co_await event.wait(Deadline::in(Millis{0})));
    event.reset();
    EXPECT_FALSE(co_await event.wait(Deadline::in(Millis{1})));
  });
}

TEST(Event, AWaiterMayOutliveIt) {
  run([](asio::any_io_executor executor) -> Task<> {
    std::optional<Event> event(executor);
    TaskGroup group(executor);
    bool woken = false;
    group.spawn("waiter", wait_for(*event, woken));
    co_await asio::post(executor, asio::use_awaitable);
    event.reset();
    EXPECT_TRUE(co_await group.stop(Deadline::in(std::chrono::seconds(10))));
    EXPECT_FALSE(woken);
  });
}

TEST(TaskGroup, StopEndsAllAndReportsOnlyBugs) {
  run([](asio::any_io_executor executor) -> Task<> {
    std::vector<std::string> bugs;
    TaskGroup group(executor, [&](std::string_view task, std::string_view what) {
      bugs.push_back(fmt::format("{}: {}", task, what));
    });
    group.spawn("sleeper", sleep_until(Deadline::never()));
    group.spawn("broken", []() -> Task<> {
      throw std::runtime_error("oops");
      co_return;
    }());
    EXPECT_EQ(group.size(), 2U);
    EXPECT_FALSE(co_await group.join(Deadline::in(Millis{5}))) << "the sleeper sleeps";
    EXPECT_TRUE(co_await group.stop());
    EXPECT_EQ(group.size(), 0U);
    EXPECT_EQ(bugs, std::vector<std::string>{"broken: oops"});
  });
}

TEST(TaskGroup, AHandleCancelsItsOwnTaskAlone) {
  run([](asio::any_io_executor executor) -> Task<> {
    TaskGroup group(executor);
    const auto first = group.spawn("first", sleep_until(Deadline::never()));
    group.spawn("second", sleep_until(Deadline::never()));
    first.cancel();
    while (group.size() == 2) co_await asio::post(executor, asio::use_awaitable);
    EXPECT_FALSE(co_await group.join(Deadline::in(Millis{1})));
    first.cancel();  // ended: nothing happens
    EXPECT_TRUE(co_await group.stop());
  });
}

}  // namespace
}  // namespace talaria
