#include "channel/telegram/api_answer.h"

#include <gtest/gtest.h>

#include "channel/telegram/bot_api.h"
#include "channel/telegram/multipart.h"

namespace talaria::telegram {
namespace {

using Fate = DeliveryError::Fate;
using Kind = ApiFailure::Kind;

Fate fate_of(int status, std::string_view body, bool repeatable = false) {
  const auto answer = parse_answer(status, body);
  if (answer) {
    ADD_FAILURE() << "taken for a success: " << body;
    return Fate::retry;
  }
  return delivery_error(answer.error(), repeatable).fate;
}

std::string refusal(int code, std::string_view words) {
  return R"({"ok":false,"error_code":)" + std::to_string(code) + R"(,"description":")" + std::string(words) + "\"}";
}

TEST(TelegramAnswer, Success) {
  EXPECT_EQ(parse_answer(200, R"({"ok":true,"result":{"message_id":5}})")->at("message_id").as_int64(), 5);
  EXPECT_TRUE(parse_answer(200, R"({"ok":true,"result":true})")->as_bool());
}

TEST(TelegramAnswer, Fates) {
  EXPECT_EQ(fate_of(400, refusal(400, "Bad Request: chat not found")), Fate::dead);
  EXPECT_EQ(fate_of(403, refusal(403, "Forbidden: bot was blocked by the user")), Fate::dead);
  EXPECT_EQ(fate_of(429, refusal(429, "Too Many Requests: retry after 3")), Fate::retry);
  EXPECT_EQ(fate_of(500, refusal(500, "Internal Server Error")), Fate::retry);
  EXPECT_EQ(fate_of(401, refusal(401, "Unauthorized")), Fate::retry);
}

// Without Telegram's own words nobody knows what became of the request; a proxy that forbids says nothing of the chat.
TEST(TelegramAnswer, AnswersThatAreNotTelegrams) {
  for (const int status : {200, 302, 500, 502, 504, 520}) {
    EXPECT_EQ(fate_of(status, "<html>"), Fate::unknown) << status;
    EXPECT_EQ(fate_of(status, "<html>", true), Fate::retry) << status;
  }
  for (const int status : {403, 400, 404, 429, 503}) EXPECT_EQ(fate_of(status, "<html>"), Fate::retry) << status;
  for (const char* body : {"", "[]", "{}", R"({"ok":1})", R"({"ok":true})", R"({"result":1})"})
    EXPECT_EQ(fate_of(200, body), Fate::unknown) << body;
}

TEST(TelegramAnswer, TransportFailures) {
  EXPECT_EQ(delivery_error({.kind = Kind::unsent, .what = "x"}, false).fate, Fate::retry);
  EXPECT_EQ(delivery_error({.kind = Kind::lost, .what = "x"}, false).fate, Fate::unknown);
  EXPECT_EQ(delivery_error({.kind = Kind::lost, .what = "x"}, true).fate, Fate::retry);
}

TEST(TelegramAnswer, Parameters) {
  const auto answer = parse_answer(
      429,
      R"({"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":7,"migrate_to_chat_id":-100}})");
  EXPECT_EQ(answer.error().retry_after, Millis(7'000));
  EXPECT_EQ(answer.error().migrate_to, -100);
  EXPECT_TRUE(answer.error().says("X"));
  EXPECT_FALSE(answer.error().says("y"));
  const auto absurd = parse_answer(429, R"({"ok":false,"error_code":429,"parameters":{"retry_after":-1}})");
  EXPECT_EQ(absurd.error().retry_after, Millis(0));
}

TEST(TelegramToken, TheNumberBeforeTheColon) {
  EXPECT_EQ(bot_number("123456:AAF-x_9"), "123456");
  for (const char* bad : {"", ":", "123", "123:", ":abc", "12a:abc", "123:ab/../c", "123:a b", "123:a\r\nX: y"})
    EXPECT_EQ(bot_number(bad), "") << bad;
}

TEST(TelegramForm, NamesCanNotBreakOutOfTheirHeader) {
  const auto form = make_form({{"chat_id", "1"}}, {"document", "a\"\r\nX: y/\\.txt", "text/plain\r\nX: y", "bytes"});
  EXPECT_EQ(form.body.find("\r\nX: y"), std::string::npos);
  EXPECT_NE(form.body.find("filename=\"a___X: y__.txt\""), std::string::npos);
  EXPECT_NE(form.body.find("Content-Type: application/octet-stream\r\n\r\nbytes\r\n--"), std::string::npos);
}

}  // namespace
}  // namespace talaria::telegram
