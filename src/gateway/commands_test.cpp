// /restart in a chat: one goodbye and one hello for everybody who asked, whatever happens in between.
#include "gateway/commands.h"

#include <gtest/gtest.h>

#include "gateway/gateway_test_support.h"

namespace talaria {
namespace {

using namespace test;

constexpr const char* goodbye = "I am restarting, one moment.";
constexpr const char* hello = "I am back.";

class CommandsTest : public GatewayTest {};

std::vector<std::string> texts(const FakeChannel& channel) {
  std::vector<std::string> all;
  for (const Reply& reply : channel.sent) all.push_back(reply.text);
  return all;
}

TEST(Commands, OnlyTheWholeTextIsACommand) {
  ASSERT_NE(find_command("/restart"), nullptr);
  EXPECT_EQ(find_command("/restart "), find_command("/restart"));
  for (const char* text : {"restart", "/restart now", "please /restart", "/Restart", "/", "", "/nothing"})
    EXPECT_EQ(find_command(text), nullptr) << text;
}

TEST_F(CommandsTest, TheOneWhoAskedIsToldGoodbyeAndHello) {
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("alice", "1", "/restart", true));
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, goodbye);
    EXPECT_EQ(w.goodbyes.size(), 1U);
    EXPECT_EQ(w.agent->runs, 0) << "an agent was asked";
    auto again = co_await w.say("alice", "1", "/restart", true);
    EXPECT_TRUE(again && again->duplicate);
    EXPECT_EQ(w.goodbyes.size(), 1U) << "a redelivery is no second restart";
  });
  run([](World& w) -> Task<> {
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, hello);
    EXPECT_EQ(w.channel->sent[0].route, (Route{"chat", "alice", "", "1"}));
    auto again = co_await w.say("alice", "1", "/restart", true);
    EXPECT_TRUE(again && again->duplicate);
    EXPECT_TRUE(w.goodbyes.empty()) << "replayed after the restart";
  });
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("bob", "2", "hi"));
    co_await w.until_sent(1);
    EXPECT_EQ(texts(*w.channel), std::vector<std::string>{"re: hi"}) << "a second hello";
  });
}

TEST_F(CommandsTest, TwoWhoAskInOneDrainAreBothTold) {
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("alice", "1", "/restart", true));
    EXPECT_TRUE(co_await w.say("bob", "2", "/restart", true));
    co_await w.until_sent(2);
    co_await test::stop_at_once(*w.gateway);
    EXPECT_TRUE(co_await w.say("carol", "3", "/restart", true));  // too late to be told before
  });
  run([](World& w) -> Task<> {
    co_await w.until_sent(4);
    std::map<std::string, std::string> told;
    for (const Reply& reply : w.channel->sent) told[reply.route.conversation] += reply.text + "|";
    EXPECT_EQ(told["alice"], "I am back.|");
    EXPECT_EQ(told["bob"], "I am back.|");
    EXPECT_EQ(told["carol"], "I am restarting, one moment.|I am back.|") << "hello without goodbye, or before it";
  });
}

TEST_F(CommandsTest, NoGoodbyeNoHello) {
  run([](World& w) -> Task<> {
    w.channel->outcomes = {DeliveryError::Fate::dead};
    EXPECT_TRUE(co_await w.say("alice", "1", "/restart", true));
    while (w.gateway->depths().dead == 0) co_await sleep_for(Millis{1});
  });
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("alice", "2", "hi"));
    co_await w.until_sent(1);
    EXPECT_EQ(texts(*w.channel), std::vector<std::string>{"re: hi"});
  });
}

TEST_F(CommandsTest, WhoIsNoAdministratorIsRefusedPolitely) {
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("mallory", "1", "/restart"));
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, "Sorry, /restart is for administrators.");
    EXPECT_TRUE(co_await w.say("mallory", "2", "/help"));
    co_await w.until_sent(2);
    EXPECT_EQ(w.channel->sent[1].text.find("/restart"), std::string::npos);
    EXPECT_TRUE(w.goodbyes.empty());
  });
  run([](World& w) -> Task<> {
    EXPECT_EQ(w.gateway->depths().outbox, 0);
    co_return;
  });
}

TEST_F(CommandsTest, WhatWasAskedTooLongAgoIsNotDone) {
  run([](World& w) -> Task<> {
    InboundEvent event;
    event.route = {"chat", "alice", "", "1"};
    event.sender = {"alice", "alice", true};
    event.message_id = "1";
    event.text = "/restart";
    event.direct = true;
    event.received_at = w.clock.now() - w.config.gateway.max_backlog_age.count() - 1;
    EXPECT_TRUE(co_await w.gateway->accept(event));
    EXPECT_TRUE(w.goodbyes.empty());
    auto skipped = co_await w.store.read([](Database& db) -> Result<std::string> {
      auto statement = db.prepare("SELECT skipped FROM event WHERE message_id = '1'");
      if (!statement) return std::unexpected(statement.error());
      if (auto row = statement->step(); !row) return std::unexpected(row.error());
      return statement->text(0);
    });
    EXPECT_TRUE(skipped && *skipped == "older than gateway.max_backlog_age");
    auto again = co_await w.gateway->accept(event);
    EXPECT_TRUE(again && again->duplicate);
    EXPECT_TRUE(co_await w.say("alice", "2", "hi"));
    co_await w.until_sent(1);
    EXPECT_EQ(texts(*w.channel), std::vector<std::string>{"re: hi"});
  });
}

TEST_F(CommandsTest, AWrongConfigurationIsNoReasonToDie) {
  run([](World& w) -> Task<> {
    w.restart_refused = true;
    EXPECT_TRUE(co_await w.say("alice", "1", "/restart", true));
    co_await w.until_sent(1);
    EXPECT_NE(w.channel->sent[0].text.find("I keep running"), std::string::npos);
    EXPECT_TRUE(w.goodbyes.empty());
  });
  run([](World& w) -> Task<> {
    EXPECT_EQ(w.gateway->depths().outbox, 0);
    co_return;
  });
}

}  // namespace
}  // namespace talaria
