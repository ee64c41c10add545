// Programs of every sort, as shell scripts: decent ones, dying ones, hostile ones.
#include "channel/program/program_channel.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>

#include "runtime/task_group.h"

namespace talaria::program {
namespace {

using namespace std::chrono_literals;
using Fate = DeliveryError::Fate;
using testing::Contains;
using testing::HasSubstr;

constexpr const char* hello = R"(echo '{"type":"hello","protocol":1}'; )";
constexpr const char* said =
    R"(echo '{"type":"message","id":"m1","conversation":"c","sender":{"id":"ann"},"text":"hi"}'; )";

class Journal final : public Inbox {
 public:
  explicit Journal(asio::any_io_executor executor) : changed(std::move(executor)) {}
  Task<Result<Accepted>> accept(InboundEvent event) override {
    ++offers;
    changed.pulse();
    if (slow) co_await sleep_until(Deadline::never());
    if (refusals > 0) {
      --refusals;
      co_return fail(ErrorKind::unavailable, "disk full");
    }
    events.push_back(std::move(event));
    changed.pulse();
    co_return Accepted{};
  }
  Event changed;
  std::vector<InboundEvent> events;
  int offers = 0;
  int refusals = 0;
  bool slow = false;
};

class HeldClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return 1'700'000'000'000; }
};

class ProgramChannelTest : public testing::Test {
 protected:
  ProgramChannelTest() {
    config.name = "prog";
    config.kind = "program";
    config.allow = {"id:ann"};
    times.session = {
        .hello = 2s, .ping = 20ms, .silence = 1500ms, .write = 300ms, .delivery = 2s, .patience = 50ms, .grace = 200ms};
    times.restart_first = Millis{5};
    times.restart_longest = Millis{20};
    times.wait_for_up = Millis{2'000};
  }
  ~ProgramChannelTest() override {
    EXPECT_TRUE(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD) << "a process or zombie was left";
  }

  template <class Body>
  void play(std::string script, Body body) {
    config.program.command = {"/bin/sh", "-c", std::move(script)};
    ProgramChannel channel(
        config, {{"TOKEN=secret"}, {"PATH_TO_NOWHERE"}}, loop.get_executor(), clock,
        [this](bool, std::string_view line) { log.emplace_back(line); }, times);
    TaskGroup group(loop.get_executor(),
                    [](std::string_view task, std::string_view what) { ADD_FAILURE() << task << ": " << what; });
    group.spawn("channel", channel.run(journal));
    bool done = false;
    loop.restart();
    asio::co_spawn(
        loop,
        [](ProgramChannel& c, TaskGroup& tasks, Body& what) -> Task<> {
          co_await what(c);
          EXPECT_TRUE(co_await tasks.stop(Deadline::in(5s))) << "it does not end";
        }(channel, group, body),
        [&](std::exception_ptr bug) {
          if (bug) std::rethrow_exception(bug);
          done = true;
          loop.stop();
        });
    loop.run_for(20s);
    EXPECT_TRUE(done) << "the test's script did not end";
  }
  Task<> until_events(std::size_t n) {
    const auto deadline = Deadline::in(8s);
    while (journal.events.size() < n && co_await journal.changed.wait(deadline)) {
    }
    EXPECT_GE(journal.events.size(), n);
  }
  Task<> until_logged(std::string text) {
    const auto deadline = Deadline::in(8s);
    while (!deadline.expired() && !logged(text)) co_await sleep_for(5ms);
    EXPECT_THAT(log, Contains(HasSubstr(text)));
  }
  [[nodiscard]] bool logged(const std::string& text) const {
    return std::ranges::any_of(log, [&](const std::string& line) { return line.contains(text); });
  }
  static Reply reply(std::int64_t id, std::string text = "x") {
    return {.outbox_id = id, .route = {"prog", "c", "", ""}, .text = std::move(text)};
  }

  asio::io_context loop{1};
  HeldClock clock;
  Journal journal{loop.get_executor()};
  ChannelConfig config;
  ProgramTimes times;
  std::vector<std::string> log;
};

TEST_F(ProgramChannelTest, AMessageIsAcceptedAndAReplyAccountedFor) {
  // Logs what it hears, and answers each deliver; the secret is in its environment.
  play(std::string(hello) + said +
           R"(echo "token $TOKEN" >&2; while read -r line; do case "$line" in *'"deliver"'*) )"
           R"(echo '{"type":"receipt","outbox_id":7,"platform_id":"p7"}';; *'"accepted"'*) echo "heard $line" >&2;; )"
           R"(*'"ping"'*) echo '{"type":"alive"}'; n=$((n+1)); [ $n != 76 ] || echo "pinged enough" >&2;; esac; done)",
       [this](ProgramChannel& channel) -> Task<> {
         co_await until_events(1);
         EXPECT_EQ(channel.health().state, ChannelState::up);
         EXPECT_TRUE(channel.health().last_progress);
         EXPECT_EQ(journal.events[0].route, (Route{"prog", "c", "", ""}));
         EXPECT_FALSE(journal.events[0].sender.admin);
         const auto receipt = co_await channel.deliver(reply(7));
         EXPECT_TRUE(receipt && receipt->platform_id == "p7");
         co_await until_logged("heard {\"type\":\"accepted\",\"id\":\"m1\"");
         co_await until_logged("token secret");
         // So many that without its word it would have been given up.
         static_assert(76 > 1500 / 20, "silence, ping");
         co_await until_logged("pinged enough");
         EXPECT_EQ(channel.health().state, ChannelState::up) << "it says that it is alive";
       });
}

TEST_F(ProgramChannelTest, WhoIsNotAllowedIsRefusedAndWhatCantBeStoredHeld) {
  journal.refusals = 1;
  const std::string stranger =
      R"(echo '{"type":"message","id":"m2","conversation":"c","sender":{"id":"eve"},"text":"hi"}'; )";
  play(std::string(hello) + stranger + said + R"(while read -r line; do echo "heard $line" >&2; done)",
       [this](ProgramChannel&) -> Task<> {
         co_await until_logged("heard {\"type\":\"refused\",\"id\":\"m2\"");
         co_await until_logged("heard {\"type\":\"hold\",\"id\":\"m1\"");
         EXPECT_TRUE(journal.events.empty());
       });
}

TEST_F(ProgramChannelTest, AMessageThatIsWrongIsRefusedSoThatItIsNotSaidForEver) {
  const std::string empty =
      R"(echo '{"type":"message","id":"m3","conversation":"c","sender":{"id":"bob"},"text":""}'; )";
  play(std::string(hello) + empty + R"(while read -r line; do echo "heard $line" >&2; done)",
       [this](ProgramChannel&) -> Task<> {
         co_await until_logged(R"(heard {"type":"refused","id":"m3","conversation":"c")");
         EXPECT_TRUE(journal.events.empty());
       });
}

TEST_F(ProgramChannelTest, DeathWithADeliveryInHandIsAnUnknownFate) {
  play(std::string(hello) + R"(while read -r line; do case "$line" in *'"deliver"'*) exit 3;; esac; done)",
       [this](ProgramChannel& channel) -> Task<> {
         const auto outcome = co_await channel.deliver(reply(1));
         EXPECT_TRUE(!outcome && outcome.error().fate == Fate::unknown);
         co_await until_logged("is gone: it");
         co_await until_logged("(exit 3)");
       });
}

TEST_F(ProgramChannelTest, AProgramThatIsNotUpIsNotGivenAnything) {
  times.wait_for_up = Millis{50};
  play("exec sleep 100", [](ProgramChannel& channel) -> Task<> {
    const auto outcome = co_await channel.deliver(reply(1));
    EXPECT_TRUE(!outcome && outcome.error().fate == Fate::retry);
  });
  play("exit 1", [this](ProgramChannel&) -> Task<> { co_await until_logged("(exit 1)"); });
}

TEST_F(ProgramChannelTest, FailuresHaveTheFateThatItSays) {
  play(std::string(hello) +
           R"(while read -r line; do case "$line" in *'"deliver"'*) )"
           R"(echo '{"type":"failed","outbox_id":3,"fate":"dead","what":"no such room"}';; esac; done)",
       [](ProgramChannel& channel) -> Task<> {
         const auto outcome = co_await channel.deliver(reply(3));
         EXPECT_TRUE(!outcome && outcome.error().fate == Fate::dead && outcome.error().what == "no such room");
       });
}

TEST_F(ProgramChannelTest, ALateReceiptIsNotTakenForALaterDeliveryOfTheReply) {
  times.session.delivery = 200ms;
  // Of the first deliver it tells when somebody types.
  play(std::string(hello) +
           R"(while read -r line; do case "$line" in *'"ping"'*) echo '{"type":"alive"}';; )"
           R"(*'"typing"'*) [ "$late" ] || echo '{"type":"receipt","outbox_id":7,"platform_id":"first"}'; late=1;; )"
           R"(*'"deliver"'*) [ -z "$known" ] || echo '{"type":"receipt","outbox_id":7,"platform_id":"second"}'; )"
           R"(known=1;; esac; done)",
       [](ProgramChannel& channel) -> Task<> {
         auto outcome = co_await channel.deliver(reply(7, "Once"));
         EXPECT_TRUE(!outcome && outcome.error().fate == Fate::unknown);
         outcome = co_await channel.deliver(reply(7, "Once upon a time"));
         EXPECT_TRUE(!outcome && outcome.error().fate == Fate::retry);
         const auto deadline = Deadline::in(8s);
         while (!outcome && outcome.error().fate == Fate::retry && !deadline.expired()) {
           channel.typing(reply(7).route);
           outcome = co_await channel.deliver(reply(7, "Once upon a time"));
         }
         EXPECT_TRUE(outcome && outcome->platform_id == "second");
       });
}

TEST_F(ProgramChannelTest, AProgramThatForgetsADeliveryIsStartedAgain) {
  times.session.delivery = 50ms;
  times.session.debt = 200ms;
  play(std::string(hello) + R"(while read -r line; do echo '{"type":"alive"}'; done)",
       [this](ProgramChannel& channel) -> Task<> {
         const auto deadline = Deadline::in(8s);
         while (!deadline.expired() && !logged("did not account for reply 7 within 200ms"))
           (void)co_await channel.deliver(reply(7));
         co_await until_logged("did not account for reply 7 within 200ms");
       });
}

TEST_F(ProgramChannelTest, StateIsWhatItSays) {
  play(R"(echo '{"type":"hello","protocol":1,"state":"connecting","can_edit":true}'; sleep 0.1; )"
       R"(echo '{"type":"state","state":"up"}'; sleep 0.1; echo '{"type":"state","state":"down","error":"kicked"}'; )"
       R"(while read -r line; do echo '{"type":"alive"}'; done)",
       [](ProgramChannel& channel) -> Task<> {
         std::vector<ChannelState> seen;
         const auto deadline = Deadline::in(5s);
         while (seen.size() < 2 && co_await channel.changed().wait(deadline)) seen.push_back(channel.health().state);
         EXPECT_EQ(seen, (std::vector{ChannelState::up, ChannelState::down}));
         EXPECT_EQ(channel.health().error, "kicked");
         EXPECT_TRUE(channel.can_edit());
       });
}

class Hostile : public ProgramChannelTest, public testing::WithParamInterface<std::pair<const char*, const char*>> {};

TEST_P(Hostile, IsStartedAgainAndCostsLittle) {
  play(GetParam().first, [this](ProgramChannel&) -> Task<> {
    co_await until_logged(GetParam().second);
    EXPECT_LE(log.size(), 200U);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Programs, Hostile,
    testing::Values(std::pair("yes garbage", "in a row that are none"),
                    std::pair(R"(yes '{"type":"alive"}')", "in a row that are none"),  // before hello
                    std::pair("head -c 3000000 /dev/zero | tr '\\0' x; sleep 5", "a line of more than"),
                    std::pair(R"(echo '{"type":"hello","protocol":1}'; exec sleep 100)", "not a word for"),
                    std::pair("trap '' TERM; while :; do sleep 100; done", "not a word for"),
                    std::pair(R"(echo '{"type":"hello","protocol":9}'; exec sleep 100)", "must be 1"),
                    // Talks without end and never reads what is answered.
                    std::pair(R"(echo '{"type":"hello","protocol":1}'; yes '{"type":"nonsense"}')",
                              "did not read in time"),
                    std::pair("exit 0", "(exit 0)"), std::pair("kill -SEGV $$", "(signal 11)")));

TEST_F(ProgramChannelTest, WhatItSendsIsHeldBackWhileTheJournalIsSlow) {
  journal.slow = true;
  play(std::string(hello) + R"(i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo "{\"type\":\"message\",\"id\":\"$i\",)"
                            R"(\"conversation\":\"c\",\"sender\":{\"id\":\"ann\"},\"text\":\"x\"}"; done; sleep 100)",
       [this](ProgramChannel&) -> Task<> {
         const auto deadline = Deadline::in(8s);
         while (journal.offers < static_cast<int>(max_in_flight) && co_await journal.changed.wait(deadline)) {
         }
         // The line after the last that was taken is in our hands or in the pipe: it would follow at once.
         for (int turn = 0; turn < 1'000; ++turn) co_await asio::post(loop, asio::use_awaitable);
         EXPECT_EQ(journal.offers, static_cast<int>(max_in_flight));
       });
}

}  // namespace
}  // namespace talaria::program
