// What services send: hooks find their channel, their answers go where they are told to, and some have no agent at all.
#include <gmock/gmock.h>

#include "gateway/gateway_test_support.h"

namespace talaria {
namespace {

using test::FakeChannel;
using test::GatewayTest;
using test::World;

// Journals what it is sent as soon as it is let go.
class FakeEndpoint final : public HookEndpoint {
 public:
  explicit FakeEndpoint(asio::any_io_executor executor) : go(executor), begun(executor) { go.set(); }
  Task<HookResponse> handle(HookRequest request) override {
    ++calls;
    begun.pulse();
    co_await go.wait();
    InboundEvent event{.route = {"chat", "hook", "", ""}, .sender = {"svc", "svc"}, .message_id = request.body};
    event.text = request.body;
    event.received_at = 1'000'000'000'000;
    const auto accepted = co_await channel->inbox->accept(std::move(event));
    co_return HookResponse{.status = accepted ? 202 : 503};
  }
  Event go, begun;
  FakeChannel* channel = nullptr;
  int calls = 0;
};

TEST_F(GatewayTest, AHookFindsTheChannelOfItsNameWhichLivesUntilItIsAnswered) {
  run([](World& w) -> Task<> {
    const auto executor = co_await asio::this_coro::executor;
    EXPECT_EQ(w.gateway->hook("chat"), nullptr) << "it takes none";
    FakeEndpoint endpoint(executor);
    endpoint.channel = w.channel;
    w.channel->endpoint = &endpoint;
    EXPECT_EQ(w.gateway->hook("nobody"), nullptr);
    co_await sleep_for(Millis{1});  // the channel runs now
    auto first = w.gateway->hook("chat");
    EXPECT_EQ(first.get(), &endpoint);
    EXPECT_EQ((co_await first->handle({.headers = {}, .body = "one", .peer = {}})).status, 202);
    co_await w.until_sent(1);

    // A handler is at work when the channel is taken out.
    endpoint.go.reset();
    int status = 0;
    TaskGroup handlers(executor);
    handlers.spawn("handler", [](std::shared_ptr<HookEndpoint> hook, int& into) -> Task<> {
      into = (co_await hook->handle({.headers = {}, .body = "two", .peer = {}})).status;
    }(std::move(first), status));
    while (endpoint.calls < 2) co_await endpoint.begun.wait();
    w.gateway->reconfigure({.agents = {}, .agents_gone = {}, .channels = {}, .channels_gone = {"chat"}});
    EXPECT_EQ(w.gateway->hook("chat"), nullptr) << "a channel that leaves answers no more";
    EXPECT_TRUE(co_await w.gateway->settled(Deadline::in(std::chrono::seconds(5))));
    endpoint.go.set();
    EXPECT_TRUE(co_await handlers.join(Deadline::in(std::chrono::seconds(5))));
    EXPECT_EQ(status, 503) << "nothing is journalled for a channel that left";
  });
}

InboundEvent report(std::string id, std::string text) {
  InboundEvent event;
  event.route = {"chat", id, "", id};
  event.sender = {"svc", "svc"};
  event.message_id = std::move(id);
  event.text = std::move(text);
  event.received_at = 1'000'000'000'000;
  event.answer_to = Route{"chat", "#ops", "t", ""};
  return event;
}

TEST_F(GatewayTest, AnAnswerGoesWhereTheEventSaysAndItsSessionIsItsOwn) {
  run([](World& w) -> Task<> {
    EXPECT_TRUE(co_await w.say("#ops", "m1", "hello"));
    co_await w.until_sent(1);
    EXPECT_TRUE(co_await w.gateway->accept(report("d1", "it broke")));
    EXPECT_TRUE((co_await w.gateway->accept(report("d1", "it broke"))).value_or(Accepted{}).duplicate);
    co_await w.until_sent(2);
    EXPECT_EQ(w.channel->sent[1].text, "re: it broke");
    EXPECT_EQ(w.channel->sent[1].route, (Route{"chat", "#ops", "t", ""}));
    EXPECT_EQ(w.agent->seen.back().size(), 1U) << "nobody else's memory";
    EXPECT_TRUE(co_await w.say("#ops", "m2", "again"));
    co_await w.until_sent(3);
    EXPECT_EQ(w.agent->seen.back().size(), 3U) << "and none of it in theirs";
  });
}

TEST_F(GatewayTest, AnAnswerFindsItsWayAfterAStop) {
  run([](World& w) -> Task<> {
    w.gateway->hold_new_turns();
    EXPECT_TRUE(co_await w.gateway->accept(report("d1", "it broke")));
    EXPECT_EQ(w.agent->runs, 0);
  });
  run([](World& w) -> Task<> {
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].route, (Route{"chat", "#ops", "t", ""}));
  });
}

TEST_F(GatewayTest, ARelayedEventIsTheReplyItselfOnce) {
  run([](World& w) -> Task<> {
    auto event = report("d1", "deployed");
    event.relay = true;
    EXPECT_TRUE(co_await w.gateway->accept(event));
    EXPECT_TRUE((co_await w.gateway->accept(event)).value_or(Accepted{}).duplicate);
    co_await w.until_sent(1);
    EXPECT_EQ(w.channel->sent[0].text, "deployed");
    EXPECT_EQ(w.channel->sent[0].route, (Route{"chat", "#ops", "t", ""}));
    event.message_id = "d2";
    event.text = "/restart";
    EXPECT_TRUE(co_await w.gateway->accept(event));
    EXPECT_TRUE(co_await w.gateway->accept(report("d3", "/restart")));
    co_await w.until_sent(3);
    std::vector<std::string> texts;
    for (const Reply& reply : w.channel->sent) texts.push_back(reply.text);
    EXPECT_THAT(texts, testing::UnorderedElementsAre("deployed", "/restart", "re: /restart"));
    EXPECT_TRUE(w.goodbyes.empty()) << "what a service reports is no command";
    EXPECT_EQ(w.agent->runs, 1);
    EXPECT_EQ(w.channel->attempts.size(), 3U);
  });
}

TEST_F(GatewayTest, ARelayThatIsTooOldIsSkipped) {
  run([](World& w) -> Task<> {
    auto event = report("d1", "old news");
    event.relay = true;
    event.received_at = w.clock.now() - w.config.gateway.max_backlog_age.count() - 1;
    EXPECT_TRUE(co_await w.gateway->accept(event));
    EXPECT_EQ(w.gateway->depths().outbox, 0);
  });
}

}  // namespace
}  // namespace talaria
