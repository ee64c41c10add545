#include "gateway/gateway.h"

#include <gtest/gtest.h>

#include "gateway/gateway_test_support.h"

namespace talaria {
namespace {

using namespace test;

TEST_F(GatewayTest, AMessageIsAnsweredToItsOwnRouteWithHistory) {
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("alice", "1", "hello"));
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, "re: hello");
    EXPECT_EQ(w.channel->sent[0].route.conversation, "alice");
    EXPECT_EQ(w.channel->sent[0].route.reply_to, "1");
    EXPECT_FALSE(w.channel->sent[0].may_be_repeat);
    EXPECT_TRUE(co_await w.say("alice", "2", "again"));
    co_await w.until_sent(2);
    EXPECT_EQ(w.agent->seen[1].size(), 3U);
    EXPECT_EQ(w.agent->seen[1][1].content, "re: hello");
    EXPECT_TRUE(co_await w.say("bob", "3", "hi"));
    co_await w.until_sent(3);
    EXPECT_EQ(w.agent->seen[2].size(), 1U) << "another sender's history leaked";
  });
}

TEST_F(GatewayTest, ARedeliveryRunsNoSecondTurn) {
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("alice", "1", "hello"));
    auto again = co_await w.say("alice", "1", "hello");
    EXPECT_TRUE(again && again->duplicate);
    co_await w.until_sent(1);
    EXPECT_EQ(w.agent->runs, 1);
  });
}

TEST_F(GatewayTest, OneTurnAtATimePerSessionInOrderManySessionsUnderTheCap) {
  run(
      [](World& w) -> Task<> {
        w.agent->go.reset();
        for (const char* who : {"a", "b", "c"}) {
          for (const char* n : {"1", "2", "3"}) EXPECT_TRUE(co_await w.say(who, n, n));
        }
        while (w.agent->running < 2) co_await w.agent->begun.wait();
        EXPECT_EQ(w.gateway->depths().turns, 9);
        w.agent->go.set();
        co_await w.until_sent(9);
        EXPECT_EQ(w.agent->most_running, 2);
        std::map<std::string, std::string> order;
        for (const Reply& reply : w.channel->sent) order[reply.route.conversation] += reply.text.back();
        for (const auto& [who, seen] : order) EXPECT_EQ(seen, "123") << who;
      },
      2);
}

TEST_F(GatewayTest, AFailedTurnApologisesWithoutTheProvidersWords) {
  run([](World& w) -> Task<> {
    w.agent->fails = true;
    EXPECT_TRUE(co_await w.say("alice", "1", "hello"));
    co_await w.until_sent(1);
    const std::string& text = w.channel->sent[0].text;
    EXPECT_NE(text.find("did not answer in time"), std::string::npos) << text;
    EXPECT_NE(text.find("Reference E-"), std::string::npos) << text;
    EXPECT_EQ(text.find("secret detail"), std::string::npos) << text;
  });
}

TEST_F(GatewayTest, AChatIsToldWhenTheAgentGaveNoAnswer) {
  run([](World& w) -> Task<> {
    w.agent->next.set();
    for (const char* nothing : {"", " \n"}) {
      w.agent->pieces = {nothing};
      w.channel->sent.clear();
      EXPECT_TRUE(co_await w.say("alice", std::string("id") + nothing, "hello"));
      co_await w.until_sent(1);
      EXPECT_EQ(w.channel->sent[0].text, "(The agent gave no answer.)");
    }
    NullSink sink;
    const DirectTurn turn{.agent = "default", .messages = {{Role::user, "hello"}}};
    auto direct = co_await w.gateway->run_direct(turn, sink);
    EXPECT_TRUE(direct && direct->reply.text == " \n") << "who asks through the API reads what there is";
  });
}

TEST_F(GatewayTest, ATurnCutOffByAStopRunsAgainAtTheNextStart) {
  run([](World& w) -> Task<> {
    w.agent->go.reset();
    EXPECT_TRUE(co_await w.say("alice", "1", "hello"));
    while (w.agent->running < 1) co_await w.agent->begun.wait();
  });
  run([](World& w) -> Task<> {
    co_await w.until_sent(1);
    EXPECT_EQ(w.agent->runs, 1);
    EXPECT_EQ(w.channel->sent[0].text, "re: hello");
  });
  run([](World& w) -> Task<> {
    EXPECT_EQ(w.gateway->depths().outbox, 0);
    EXPECT_EQ(w.agent->runs, 0);
    co_return;
  });
}

TEST_F(GatewayTest, WhatArrivesWhileDrainingIsJournalledAndRunsLater) {
  run([](World& w) -> Task<> {
    co_await test::stop_at_once(*w.gateway);
    EXPECT_TRUE(co_await w.say("alice", "1", "late"));
    NullSink sink;
    auto refused = co_await w.gateway->run_direct({.agent = "default", .messages = {{Role::user, "x"}}}, sink);
    EXPECT_FALSE(refused);
    EXPECT_EQ(w.agent->runs, 0);
  });
  run([](World& w) -> Task<> {
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, "re: late");
  });
}

TEST_F(GatewayTest, AnUnknownFateIsRepeatedOnceWithAMark) {
  run([](World& w) -> Task<> {
    w.channel->outcomes = {DeliveryError::Fate::unknown};
    EXPECT_TRUE(co_await w.say("alice", "1", "hello"));
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->attempts.size(), 2U);
    EXPECT_FALSE(w.channel->attempts[0].may_be_repeat);
    EXPECT_TRUE(w.channel->attempts[1].may_be_repeat);
  });
}

TEST_F(GatewayTest, ACleanFailureIsRetriedWithoutAMarkAndKeepsOrder) {
  run([](World& w) -> Task<> {
    w.channel->outcomes = {DeliveryError::Fate::retry};
    EXPECT_TRUE(co_await w.say("alice", "1", "a"));
    EXPECT_TRUE(co_await w.say("alice", "2", "b"));
    co_await w.until_sent(2);
    EXPECT_EQ(w.channel->sent[0].text, "re: a");
    EXPECT_EQ(w.channel->sent[1].text, "re: b");
    EXPECT_FALSE(w.channel->sent[0].may_be_repeat);
  });
}

TEST_F(GatewayTest, ADeadReplyIsListedAndCanBeSentAgain) {
  run([](World& w) -> Task<> {
    w.channel->outcomes = {DeliveryError::Fate::dead};
    auto id = co_await w.gateway->send({"chat", "alice", "", ""}, "note");
    EXPECT_TRUE(id);
    auto fate = co_await w.gateway->wait_delivered(*id, Deadline::in(std::chrono::seconds(5)));
    EXPECT_FALSE(fate);
    EXPECT_EQ(w.gateway->depths().dead, 1);
    EXPECT_TRUE(co_await w.gateway->retry_dead(*id));
    co_await w.until_sent(1);
    EXPECT_EQ(w.gateway->depths().dead, 0);
    EXPECT_FALSE(co_await w.gateway->send({"nowhere", "x", "", ""}, "note"));
  });
}

TEST_F(GatewayTest, AChannelThatIsDownKeepsItsRepliesPending) {
  run([](World& w) -> Task<> {
    w.channel->state = ChannelState::down;
    EXPECT_TRUE(co_await w.gateway->send({"chat", "alice", "", ""}, "note"));
    auto rows = co_await w.store.read([](Database& db) { return list_outbox(db, "pending", 10); });
    EXPECT_EQ(rows->size(), 1U);
    w.channel->state = ChannelState::up;
    w.channel->changed_.pulse();
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->attempts.size(), 1U);
  });
}

TEST_F(GatewayTest, AnIdempotencyKeyRunsOneTurnAlsoAcrossARestart) {
  const DirectTurn turn{.agent = "default", .messages = {{Role::user, "pay"}}, .idempotency_key = "k"};
  run([turn](World& w) -> Task<> {
    NullSink sink;
    auto first = co_await w.gateway->run_direct(turn, sink);
    EXPECT_TRUE(first && !first->replayed);
    EXPECT_EQ(sink.text, "re: pay");
    auto second = co_await w.gateway->run_direct(turn, sink);
    EXPECT_TRUE(second && second->replayed);
    EXPECT_EQ(second->turn, first->turn);
    DirectTurn other = turn;
    other.messages[0].content = "pay twice";
    auto clash = co_await w.gateway->run_direct(other, sink);
    EXPECT_TRUE(!clash && clash.error().kind == ErrorKind::invalid);
    EXPECT_EQ(w.agent->runs, 1);
  });
  run([turn](World& w) -> Task<> {
    NullSink sink;
    auto again = co_await w.gateway->run_direct(turn, sink);
    EXPECT_TRUE(again && again->replayed);
    EXPECT_EQ(again->reply.text, "re: pay");
    EXPECT_EQ(w.agent->runs, 0);
  });
}

Task<> direct(World& w, DirectTurn turn, std::optional<std::expected<DirectAnswer, DirectFailure>>& result,
              Event& done) {
  NullSink sink;
  result.emplace(co_await w.gateway->run_direct(std::move(turn), sink));
  done.set();
}

TEST_F(GatewayTest, AnAskerThatLeavesTakesItsTurnAlong) {
  run([](World& w) -> Task<> {
    w.agent->go.reset();
    const auto executor = co_await asio::this_coro::executor;
    Event done(executor);
    std::optional<std::expected<DirectAnswer, DirectFailure>> result;
    TaskGroup askers(executor);
    askers.spawn("asker", direct(w, {.agent = "default", .messages = {{Role::user, "x"}}}, result, done));
    while (w.agent->running < 1) co_await w.agent->begun.wait();
    co_await askers.stop();
    EXPECT_EQ(w.agent->running, 0);
    while (w.gateway->counters().turns_cancelled < 1) co_await sleep_for(Millis{1});
    EXPECT_EQ(w.gateway->depths().turns, 0);
  });
}

TEST_F(GatewayTest, AKeyedTurnOutlivesItsAsker) {
  run([](World& w) -> Task<> {
    w.agent->go.reset();
    const auto executor = co_await asio::this_coro::executor;
    const DirectTurn turn{.agent = "default", .messages = {{Role::user, "x"}}, .idempotency_key = "k"};
    std::optional<std::expected<DirectAnswer, DirectFailure>> first, second;
    Event first_done(executor), second_done(executor);
    TaskGroup askers(executor);
    askers.spawn("asker", direct(w, turn, first, first_done));
    while (w.agent->running < 1) co_await w.agent->begun.wait();
    co_await askers.stop();
    EXPECT_EQ(w.agent->running, 1);
    askers.spawn("asker", direct(w, turn, second, second_done));
    w.agent->go.set();
    EXPECT_TRUE(co_await second_done.wait(Deadline::in(std::chrono::seconds(5))));
    EXPECT_TRUE(*second && (*second)->replayed);
    EXPECT_EQ(w.agent->runs, 1);
  });
}

TEST_F(GatewayTest, WhatDoesNotFitIntoMemoryWaitsInTheStoreInOrder) {
  run([](World& w) -> Task<> {
    w.config.gateway.max_queued_turns = 3;
    w.agent->go.reset();
    for (int i = 0; i < 20; ++i) {
      const std::string who = i % 2 == 0 ? "even" : "odd";
      EXPECT_TRUE(co_await w.say(who, std::to_string(i), fmt::format("{:02}", i)));
    }
    EXPECT_EQ(w.gateway->depths().turns, 20);
    EXPECT_GE(w.gateway->depths().stored, 20 - (3 + 4)) << "memory has its share and the cap";
    w.agent->go.set();
    co_await w.until_sent(20);
    std::map<std::string, std::vector<std::string>> order;
    for (const Reply& reply : w.channel->sent) order[reply.route.conversation].push_back(reply.text);
    for (const auto& [who, texts] : order) EXPECT_TRUE(std::ranges::is_sorted(texts)) << who;
    EXPECT_EQ(w.agent->runs, 20);
  });
}

// The queue is full of turns of the API: whatever becomes of them, a message that had to wait in the store is answered.
class FullOfApiTurns : public GatewayTest {
 protected:
  struct Asker {
    explicit Asker(asio::any_io_executor executor) : done(std::move(executor)) {}
    Event done;
    std::optional<std::expected<DirectAnswer, DirectFailure>> result;
  };
  // One runs, two wait; `keys`: they have idempotency keys.
  void run_full(bool keys, std::function<Task<>(World&, TaskGroup&, std::deque<Asker>&)> story) {
    run(
        [keys, story](World& w) -> Task<> {
          w.config.gateway.max_queued_turns = 2;
          w.agent->go.reset();
          const auto executor = co_await asio::this_coro::executor;
          TaskGroup tasks(executor);
          std::deque<Asker> askers;
          for (const char* text : {"a", "b", "c"}) {
            Asker& asker = askers.emplace_back(executor);
            DirectTurn turn{.agent = "default", .messages = {{Role::user, text}}};
            if (keys) turn.idempotency_key = text;
            tasks.spawn("asker", direct(w, std::move(turn), asker.result, asker.done));
            while (w.gateway->depths().turns < static_cast<int>(askers.size())) co_await sleep_for(Millis{1});
          }
          while (w.agent->running < 1) co_await w.agent->begun.wait();
          EXPECT_TRUE(co_await w.say("alice", "1", "hello"));
          EXPECT_EQ(w.gateway->depths().turns, 4) << "what waits in the store counts";
          co_await story(w, tasks, askers);
          co_await tasks.stop();
        },
        1);
  }
};

TEST_F(FullOfApiTurns, AMessageIsAnsweredWhenTheyHaveEnded) {
  run_full(false, [](World& w, TaskGroup&, std::deque<Asker>& askers) -> Task<> {
    w.agent->go.set();
    co_await w.until_sent(1);
    for (Asker& asker : askers) {
      EXPECT_TRUE(co_await asker.done.wait(Deadline::in(std::chrono::seconds(5))));
      EXPECT_TRUE(asker.result && *asker.result);
    }
    EXPECT_EQ(w.agent->runs, 4);
    EXPECT_EQ(w.gateway->depths().turns, 0);
  });
}

TEST_F(FullOfApiTurns, KeyedOnesAreNotLoadedASecondTime) {
  run_full(true, [](World& w, TaskGroup&, std::deque<Asker>& askers) -> Task<> {
    w.agent->go.set();
    co_await w.until_sent(1);
    for (Asker& asker : askers) {
      EXPECT_TRUE(co_await asker.done.wait(Deadline::in(std::chrono::seconds(5))));
      EXPECT_TRUE(asker.result && *asker.result);
    }
    EXPECT_EQ(w.agent->runs, 4);
  });
}

TEST_F(FullOfApiTurns, AMessageIsAnsweredWhenTheirAskersGo) {
  run_full(false, [](World& w, TaskGroup& tasks, std::deque<Asker>&) -> Task<> {
    co_await tasks.stop();
    w.agent->go.set();
    co_await w.until_sent(1);
  });
}

TEST_F(FullOfApiTurns, AMessageIsAnsweredAlsoWhenTheStoreCouldNotBeReadAtFirst) {
  run_full(false, [](World& w, TaskGroup&, std::deque<Asker>& askers) -> Task<> {
    EXPECT_TRUE(co_await w.store.write([](Database& db) { return db.exec("ALTER TABLE session RENAME TO hidden"); }));
    w.agent->go.set();
    for (Asker& asker : askers) EXPECT_TRUE(co_await asker.done.wait(Deadline::in(std::chrono::seconds(5))));
    co_await sleep_for(Millis{50});
    EXPECT_TRUE(w.channel->sent.empty());
    EXPECT_TRUE(co_await w.store.write([](Database& db) { return db.exec("ALTER TABLE hidden RENAME TO session"); }));
    co_await w.until_sent(1);
  });
}

// The keyed turns of the program before are in the store when this one starts, more than fit.
TEST_F(GatewayTest, KeyedTurnsOfABacklogThatDoesNotFitAreAllRun) {
  run([](World& w) -> Task<> {
    for (int i = 0; i < 7; ++i) {
      const std::string key = std::to_string(i);
      EXPECT_TRUE(co_await w.store.write([&](Database& db) {
        return journal_direct(db, {.agent = "default", .prompt = key, .request = "", .idempotency_key = key},
                              w.clock.now());
      }));
    }
  });
  prepare = [](World& w) { w.config.gateway.max_queued_turns = 2; };
  run(
      [](World& w) -> Task<> {
        while (w.gateway->depths().turns > 0) co_await sleep_for(Millis{1});
        EXPECT_EQ(w.agent->runs, 7);
      },
      1);
}

TEST_F(GatewayTest, AnOldBacklogIsSkippedAndListed) {
  run([](World& w) -> Task<> {
    InboundEvent event;
    event.route = {"chat", "alice", "", "1"};
    event.sender = {"alice", "alice"};
    event.message_id = "1";
    event.text = "old";
    event.direct = true;
    event.received_at = w.clock.now() - w.config.gateway.max_backlog_age.count() - 1;
    EXPECT_TRUE(co_await w.gateway->accept(event));
    EXPECT_TRUE(co_await w.say("alice", "2", "new"));
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, "re: new");
  });
}

// After six failures the conversation waits 32 s by itself; the channel's return ends that.
TEST_F(GatewayTest, AConversationThatWaitsAfterFailuresIsHealedByItsChannelsReturn) {
  run([](World& world) -> Task<> {
    constexpr std::size_t failures = 6;
    world.channel->outcomes.assign(failures, DeliveryError::Fate::retry);
    EXPECT_TRUE(co_await world.say("alice", "1", "hello"));
    while (world.channel->sent.empty()) {
      for (const ChannelState state : {ChannelState::connecting, ChannelState::up}) {
        world.channel->state = state;
        world.channel->changed_.pulse();
        co_await sleep_for(Millis{5});
      }
    }
    EXPECT_EQ(world.channel->attempts.size(), failures + 1);
    EXPECT_FALSE(world.channel->sent[0].may_be_repeat);
  });
}

}  // namespace
}  // namespace talaria
