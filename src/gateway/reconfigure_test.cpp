// What a reload changes in a gateway that is at work.
#include <gtest/gtest.h>

#include "gateway/gateway_test_support.h"
#include "process/credential_lock.h"

namespace talaria {
namespace {

using namespace test;
using std::chrono::seconds;

class ReconfigureTest : public GatewayTest {
 protected:
  // A channel as a reload brings it; what it is said about in the configuration is the caller's.
  static std::pair<std::unique_ptr<Channel>, FakeChannel*> channel(World&, asio::any_io_executor executor,
                                                                   const std::string& name) {
    auto made = std::make_unique<FakeChannel>(executor, name);
    auto* seen = made.get();
    return {std::move(made), seen};
  }
};

Task<> until_running(FakeChannel& channel) {
  const Deadline deadline = Deadline::in(seconds(5));
  while (channel.runs == 0) EXPECT_TRUE(co_await channel.changed().wait(deadline));
}

TEST_F(ReconfigureTest, AQueuedTurnOfAnAgentThatIsGoneIsAnsweredByItsChannelsAgent) {
  run(
      [](World& w) -> Task<> {
        const auto executor = co_await asio::this_coro::executor;
        w.agent->go.reset();
        EXPECT_TRUE(co_await w.say("alice", "1", "first"));
        while (w.agent->running < 1) co_await w.agent->begun.wait();
        EXPECT_TRUE(co_await w.say("alice", "2", "second"));
        FakeAgent* const old = w.agent;

        auto fresh = std::make_unique<FakeAgent>(executor);
        FakeAgent* const other = fresh.get();
        w.config.agents.erase("default");
        w.config.agents["other"] = {.name = "other", .kind = "fake"};
        w.config.channels["chat"].agent = "other";
        Gateway::Change change;
        change.agents["other"] = std::move(fresh);
        change.agents_gone = {"default"};
        w.gateway->reconfigure(std::move(change));
        EXPECT_EQ(w.gateway->agent_names(), std::vector<std::string>{"other"});
        EXPECT_EQ(old->running, 1) << "a running turn keeps its agent";
        old->go.set();
        co_await w.until_sent(2);
        EXPECT_EQ(w.channel->sent[0].text, "re: first");
        EXPECT_EQ(w.channel->sent[1].text, "re: second");
        EXPECT_EQ(other->runs, 1);
      },
      1);
}

TEST_F(ReconfigureTest, LimitsCountAtOnce) {
  run(
      [](World& w) -> Task<> {
        w.agent->go.reset();
        for (const char* who : {"a", "b", "c"}) EXPECT_TRUE(co_await w.say(who, who, "x"));
        while (w.agent->running < 1) co_await w.agent->begun.wait();
        EXPECT_EQ(w.agent->running, 1);
        w.config.gateway.max_concurrent_turns = 3;
        w.gateway->reconfigure({});
        while (w.agent->running < 3) co_await w.agent->begun.wait();
        w.agent->go.set();
        co_await w.until_sent(3);
      },
      1);
}

TEST_F(ReconfigureTest, ARemovedChannelLeavesAndItsRepliesStay) {
  run([](World& w) -> Task<> {
    const auto executor = co_await asio::this_coro::executor;
    co_await until_running(*w.channel);
    w.channel->state = ChannelState::down;
    EXPECT_TRUE(co_await w.gateway->send({"chat", "alice", "", ""}, "note"));
    Inbox* const inbox = w.channel->inbox;
    const ChannelConfig settings = w.config.channels["chat"];
    w.config.channels.erase("chat");
    Gateway::Change gone;
    gone.channels_gone = {"chat"};
    w.gateway->reconfigure(std::move(gone));
    InboundEvent late;
    late.route.channel = "chat";
    const auto refused = co_await inbox->accept(late);
    EXPECT_TRUE(!refused && refused.error().kind == ErrorKind::unavailable) << "its messages are not taken any more";
    EXPECT_TRUE(co_await w.gateway->settled(Deadline::in(seconds(5))));
    EXPECT_TRUE(w.gateway->channels().empty());
    EXPECT_FALSE(co_await w.gateway->send({"chat", "alice", "", ""}, "another"));
    EXPECT_EQ(w.gateway->depths().outbox, 1);
    while (w.gateway->stranded_replies().empty()) co_await sleep_for(Millis{1});
    EXPECT_EQ(w.gateway->stranded_replies().at("chat"), 1);

    auto [again, seen] = channel(w, executor, "chat");
    w.config.channels["chat"] = settings;
    Gateway::Change back;
    back.channels.push_back(std::move(again));
    w.gateway->reconfigure(std::move(back));
    while (seen->sent.empty()) EXPECT_TRUE(co_await seen->delivered.wait(Deadline::in(seconds(5))));
    EXPECT_EQ(seen->sent[0].text, "note");
    EXPECT_TRUE(w.gateway->stranded_replies().empty());
  });
}

TEST_F(ReconfigureTest, AReplacedChannelEndsItsDeliveryBeforeTheNextOneConnects) {
  run([](World& w) -> Task<> {
    const auto executor = co_await asio::this_coro::executor;
    co_await until_running(*w.channel);
    FakeChannel& old = *w.channel;
    old.let_go.reset();
    EXPECT_TRUE(co_await w.gateway->send({"chat", "alice", "", ""}, "one"));
    EXPECT_TRUE(co_await w.gateway->send({"chat", "alice", "", ""}, "two"));
    while (old.attempts.empty()) co_await sleep_for(Millis{1});
    InboundEvent held;
    held.route = {"chat", "bob", "", "h"};
    held.sender = {"bob", "bob"};
    held.message_id = "h";
    held.text = "held";
    held.direct = true;
    held.received_at = w.clock.now();
    old.held = {held};

    auto [fresh, seen] = channel(w, executor, "chat");
    Gateway::Change change;
    change.channels.push_back(std::move(fresh));
    w.gateway->reconfigure(std::move(change));
    EXPECT_FALSE(co_await w.gateway->settled(Deadline::in(Millis{50})));
    EXPECT_EQ(old.running, 1);
    EXPECT_EQ(seen->runs, 0) << "two connections of one account";
    old.let_go.set();
    EXPECT_TRUE(co_await w.gateway->settled(Deadline::in(seconds(5))));
    co_await until_running(*seen);
    while (seen->sent.size() < 2) EXPECT_TRUE(co_await seen->delivered.wait(Deadline::in(seconds(5))));
    std::vector<std::string> texts;
    for (const Reply& reply : seen->sent) texts.push_back(reply.text);
    std::ranges::sort(texts);
    EXPECT_EQ(texts, (std::vector<std::string>{"re: held", "two"}))
        << "what the old one had not journalled is answered, and nothing is sent twice";
  });
}

TEST_F(ReconfigureTest, ReplacedAgainBeforeThePredecessorIsGone) {
  run([](World& w) -> Task<> {
    const auto executor = co_await asio::this_coro::executor;
    co_await until_running(*w.channel);
    w.channel->let_go.reset();
    EXPECT_TRUE(co_await w.gateway->send({"chat", "alice", "", ""}, "one"));
    while (w.channel->attempts.empty()) co_await sleep_for(Millis{1});
    FakeChannel* last = nullptr;
    for (int i = 0; i < 3; ++i) {
      auto [fresh, seen] = channel(w, executor, "chat");
      last = seen;
      Gateway::Change change;
      change.channels.push_back(std::move(fresh));
      w.gateway->reconfigure(std::move(change));
    }
    EXPECT_EQ(last->runs, 0);
    w.channel->let_go.set();
    EXPECT_TRUE(co_await w.gateway->settled(Deadline::in(seconds(5))));
    co_await until_running(*last);
    EXPECT_EQ(w.gateway->channels().size(), 1U);
  });
}

TEST_F(ReconfigureTest, AnAccountThatIsInUseKeepsTheChannelDownUntilItIsFree) {
  run([](World& w) -> Task<> {
    const auto executor = co_await asio::this_coro::executor;
    const std::string account = fmt::format("reconfigure test {}", ::getpid());
    auto theirs = CredentialLock::acquire({"fake", account});
    EXPECT_TRUE(theirs);
    auto made = std::make_unique<FakeChannel>(executor, "locked", account);
    FakeChannel* const seen = made.get();
    w.config.channels["locked"] = {.name = "locked", .kind = "fake"};
    Gateway::Change change;
    change.channels.push_back(std::move(made));
    w.gateway->reconfigure(std::move(change));
    const auto report = [&] { return w.gateway->channels().at(1).health; };
    while (report().error.empty()) co_await sleep_for(Millis{5});
    EXPECT_EQ(report().state, ChannelState::down);
    EXPECT_NE(report().error.find(fmt::format("PID {}", ::getpid())), std::string::npos) << report().error;
    EXPECT_EQ(seen->runs, 0);
    theirs = fail(ErrorKind::cancelled, "given back");
    co_await until_running(*seen);
    EXPECT_EQ(report().error, "");
    EXPECT_FALSE(CredentialLock::acquire({"fake", account})) << "it runs without the lock";
  });
}

}  // namespace
}  // namespace talaria
