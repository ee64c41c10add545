#include "api/openai_chat.h"

#include <gtest/gtest.h>

#include "api/api_test_support.h"
#include "gateway/gateway_test_support.h"

namespace talaria {
namespace {

Result<ChatCall> parse(std::string body) {
  HttpRequest request;
  request.body = std::move(body);
  return parse_chat_call(request);
}

TEST(ChatCall, TakesWhatClientsSend) {
  HttpRequest request;
  request.body = R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"temperature":1,"max_tokens":7,
    "messages":[{"role":"developer","content":"be kind"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})";
  request.headers.set("x-talaria-session", "s");
  request.headers.set("Idempotency-Key", "k");
  auto call = parse_chat_call(request);
  ASSERT_TRUE(call) << call.error().what;
  EXPECT_EQ(call->turn.agent, "m");
  EXPECT_TRUE(call->stream && call->include_usage);
  EXPECT_EQ(call->turn.messages[0].role, Role::system);
  EXPECT_EQ(call->turn.messages[1].content, "ab");
  EXPECT_EQ(call->turn.session, "s");
  EXPECT_EQ(call->turn.idempotency_key, "k");
  EXPECT_EQ(*call->turn.temperature, 1);
  EXPECT_EQ(*call->turn.max_tokens, 7);
}

TEST(ChatCall, EveryMistakeNamesItsField) {
  const std::string messages = R"("messages":[{"role":"user","content":"x"}])";
  const std::pair<std::string, std::string> cases[] = {
      {"{", "JSON"},
      {"[]", "object"},
      {"{" + messages + "}", "model"},
      {R"({"model":"m"})", "messages"},
      {R"({"model":"m","messages":[]})", "messages"},
      {R"({"model":"m","messages":[{"role":"tool","content":"x"}]})", "role"},
      {R"({"model":"m","messages":[{"role":"user"}]})", "content"},
      {R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]})", "content"},
      {R"({"model":"m",)" + messages + R"(,"stream":"yes"})", "stream"},
      {R"({"model":"m",)" + messages + R"(,"n":2})", "\"n\""},
      {R"({"model":"m",)" + messages + R"(,"temperature":9})", "temperature"},
      {R"({"model":"m",)" + messages + R"(,"max_tokens":0})", "max_tokens"},
      {R"({"model":"m",)" + messages + R"(,"tools":[{}]})", "tools"},
      {R"({"model":"m",)" + messages + R"(,"user":7})", "user"},
  };
  for (const auto& [body, word] : cases) {
    auto call = parse(body);
    ASSERT_FALSE(call) << body;
    EXPECT_NE(call.error().what.find(word), std::string::npos) << body << " → " << call.error().what;
  }
}

TEST(ChatCall, NullMeansAbsent) {
  EXPECT_TRUE(parse(
      R"({"model":"m","messages":[{"role":"user","content":"x"}],"stream":null,"n":null,"user":null,"tools":[]})"));
}

// What clients hear whose turns a stop cuts off.
class ChatAtAStop : public test::GatewayTest {
 protected:
  using Exchange = test::RecordedExchange;
  static HttpRequest request(bool streams) {
    HttpRequest request;
    request.body =
        fmt::format(R"({{"model":"default","stream":{},"messages":[{{"role":"user","content":"x"}}]}})", streams);
    return request;
  }
  // A call whose turn runs; the story ends it.
  void run_call(bool streams, std::function<Task<>(test::World&, Exchange&, TaskGroup&)> story) {
    run([=](test::World& w) -> Task<> {
      const auto executor = co_await asio::this_coro::executor;
      w.agent->go.reset();
      Exchange exchange(executor);
      TaskGroup calls(executor, [](std::string_view, std::string_view what) { ADD_FAILURE() << what; });
      calls.spawn("call", chat_completions(*w.gateway, request(streams), exchange));
      while (w.agent->running < 1) co_await w.agent->begun.wait();
      co_await story(w, exchange, calls);
      EXPECT_TRUE(co_await calls.stop(Deadline::in(Millis{5'000})));
      EXPECT_EQ(w.agent->running, 0);
      EXPECT_EQ(w.gateway->depths().unkeyed, 0);
    });
  }
  void run_stop(bool streams) {
    run_call(streams, [](test::World& w, Exchange& exchange, TaskGroup&) -> Task<> {
      EXPECT_EQ(w.gateway->depths().unkeyed, 1);
      w.gateway->begin_drain();
      EXPECT_TRUE(co_await w.gateway->end_turns(Deadline::in(Millis{5'000})));
      EXPECT_TRUE(exchange.answered);
      EXPECT_EQ(exchange.response.status, 503);
      EXPECT_NE(exchange.response.headers.get("Retry-After"), "");
      EXPECT_EQ(w.agent->running, 0);
      co_await w.gateway->settle_turns();
      auto turn = co_await w.store.read([](Database& db) -> Result<std::string> {
        auto row = db.prepare("SELECT state || ': ' || error FROM turn");
        (void)row->step();
        return row->text(0);
      });
      EXPECT_EQ(*turn, "cancelled: the gateway ended while the asker waited");
    });
  }
};

TEST_F(ChatAtAStop, AWholeAnswerIsA503) { run_stop(false); }
TEST_F(ChatAtAStop, AStreamThatHasNotBegunIsA503) { run_stop(true); }

TEST_F(ChatAtAStop, AStreamThatHasBegunEndsWithAnError) {
  prepare = [](test::World& w) { w.agent->pieces = {"one", "two"}; };
  run_call(true, [](test::World& w, Exchange& exchange, TaskGroup&) -> Task<> {
    w.agent->go.set();
    while (exchange.streamed.find("one") == std::string::npos) co_await sleep_for(Millis{1});
    w.gateway->begin_drain();
    EXPECT_TRUE(co_await w.gateway->end_turns(Deadline::in(Millis{5'000})));
    EXPECT_NE(exchange.streamed.find("shutting down"), std::string::npos) << exchange.streamed;
    EXPECT_TRUE(exchange.ended);
  });
}

TEST_F(ChatAtAStop, ACancelledCallIsNoInternalError) {
  for (const bool streams : {false, true}) {
    run_call(streams, [](test::World&, Exchange& exchange, TaskGroup& calls) -> Task<> {
      EXPECT_TRUE(co_await calls.stop(Deadline::in(Millis{5'000})));
      EXPECT_FALSE(exchange.answered);
    });
  }
}

}  // namespace
}  // namespace talaria
