#include "api/openai_chat.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace talaria
