#include "channel/program/protocol.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/json.hpp>

namespace talaria::program {
namespace {

using testing::HasSubstr;

template <class T>
T parsed(std::string_view line) {
  auto result = parse_line(line);
  EXPECT_TRUE(result) << result.error().what;
  if (result && std::holds_alternative<T>(*result)) return std::get<T>(std::move(*result));
  ADD_FAILURE() << "another type: " << line;
  return T{};
}

LineError refused(std::string_view line) {
  auto result = parse_line(line);
  EXPECT_FALSE(result) << line;
  return result ? LineError{} : result.error();
}

TEST(ProgramProtocol, EveryTypeIsRead) {
  const auto hello = parsed<Hello>(
      R"({"type":"hello","protocol":1,"account":"bot","can_edit":true,"recognises_repeats":true,"future":[1,{}]})");
  EXPECT_TRUE(hello.can_edit && hello.recognises_repeats && !hello.connecting && hello.account == "bot");
  EXPECT_TRUE(parsed<Hello>(R"({"type":"hello","protocol":1,"state":"connecting"})").connecting);
  EXPECT_TRUE(parsed<State>(R"({"type":"state","state":"up"})").up);
  EXPECT_EQ(parsed<State>(R"({"type":"state","state":"down","error":"no network"})").error, "no network");

  const auto event =
      parsed<Message>(R"({"type":"message","id":"m1","conversation":"room","thread":"t","reply_to":"m0",)"
                      R"("sender":{"id":"7","name":"Ann"},"text":"héllo","direct":true,"received_at":123})")
          .event;
  EXPECT_EQ(event.route, (Route{"", "room", "t", "m0"}));
  EXPECT_EQ(event.message_id, "m1");
  EXPECT_EQ(event.sender.name, "Ann");
  EXPECT_TRUE(event.direct && event.received_at == 123);
  EXPECT_EQ(
      parsed<Message>(R"({"type":"message","id":"1","conversation":"c","sender":{"id":"7"},"text":"x","thread":null})")
          .event.sender.name,
      "7");

  EXPECT_EQ(parsed<Delivered>(R"({"type":"receipt","outbox_id":5,"platform_id":"p"})").outbox_id, 5);
  const auto failed =
      parsed<Failed>(R"({"type":"failed","outbox_id":5,"fate":"retry","what":"busy","retry_after":1.5})");
  EXPECT_EQ(failed.error.fate, DeliveryError::Fate::retry);
  EXPECT_EQ(failed.error.retry_after, Millis{1'500});
  EXPECT_EQ(parsed<Failed>(R"({"type":"failed","outbox_id":5,"fate":"dead"})").error.fate, DeliveryError::Fate::dead);
  parsed<Alive>(R"({"type":"alive"})");
  EXPECT_TRUE(parsed<Log>(R"({"type":"log","level":"warning","text":"x"})").warning);
  EXPECT_EQ(parsed<Unknown>(R"({"type":"poll"})").type, "poll");
}

TEST(ProgramProtocol, RubbishIsTold) {
  for (const std::string& line :
       {std::string("x"), std::string("{"), std::string("[]"), std::string("null"), std::string("{}"),
        std::string(R"({"type":1})"), std::string("{\"type\":\"\xff\"}"), std::string(100, '[')})
    EXPECT_TRUE(refused(line).garbage) << line;
}

// As json.dumps() of Python writes a file name that is no UTF-8.
TEST(ProgramProtocol, HalfACharacterIsNoRubbish) {
  const auto line =
      parse_line(R"({"type":"message","id":"i","conversation":"c","sender":{"id":"s"},"text":"caf\udce9"})");
  ASSERT_TRUE(line) << line.error().what;
  EXPECT_EQ(std::get<Message>(*line).event.text, "caf\uFFFD");
}

TEST(ProgramProtocol, WrongMembersAreNamed) {
  const auto told = [](std::string_view line) {
    const LineError error = refused(line);
    EXPECT_FALSE(error.garbage);
    return error.what;
  };
  EXPECT_THAT(told(R"({"type":"hello","protocol":2})"), HasSubstr("must be 1"));
  EXPECT_THAT(told(R"({"type":"hello"})"), HasSubstr("protocol is missing"));
  EXPECT_THAT(told(R"({"type":"message","id":"","conversation":"c","sender":{"id":"s"},"text":"x"})"),
              HasSubstr("id is empty"));
  EXPECT_THAT(told(R"({"type":"message","id":7,"conversation":"c","sender":{"id":"s"},"text":"x"})"),
              HasSubstr("id must be"));
  EXPECT_THAT(told(R"({"type":"message","id":"i","conversation":"c","sender":"s","text":"x"})"),
              HasSubstr("sender must be"));
  EXPECT_THAT(told(R"({"type":"message","id":"i","conversation":"c","sender":{},"text":"x"})"),
              HasSubstr("sender. id is missing"));
  EXPECT_THAT(told(R"({"type":"message","id":"i","conversation":"c","sender":{"id":"s"},"text":"x","direct":1})"),
              HasSubstr("direct"));
  EXPECT_THAT(told(R"({"type":"receipt","outbox_id":-1})"), HasSubstr("outbox_id"));
  EXPECT_THAT(told(R"({"type":"receipt","outbox_id":1e3})"), HasSubstr("outbox_id"));
  EXPECT_THAT(told(R"({"type":"failed","outbox_id":1,"fate":"lost"})"), HasSubstr("fate"));
  for (const char* wait : {"-1", "1e300", "\"5\""})
    EXPECT_THAT(told(fmt::format(R"({{"type":"failed","outbox_id":1,"fate":"retry","retry_after":{}}})", wait)),
                HasSubstr("retry_after"));
  EXPECT_THAT(told(fmt::format(R"({{"type":"message","id":"{}","conversation":"c","sender":{{"id":"s"}},"text":"x"}})",
                               std::string(max_id + 1, 'i'))),
              HasSubstr("more than"));
}

TEST(ProgramProtocol, WhatWeSayIsOneLineOfJson) {
  Reply reply{.outbox_id = 9, .route = {"ch", "ro\nom", "t", "r"}, .text = "a\nb\xff\"", .may_be_repeat = true};
  reply.edits = "p1";
  reply.partial = true;
  reply.attachments = {{"/state/a", "a b.png", "image/png", 7}};
  for (const std::string& line :
       {welcome_line("ch"), accepted_line("a\nb", "c", true), refused_line("a", "c", "w"), hold_line("a", "c", 5),
        deliver_line(reply), typing_line(reply.route), ping_line(), stop_line(), error_line("x\ny")}) {
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
    const auto object = boost::json::parse(line).as_object();
    EXPECT_TRUE(object.at("type").is_string());
  }
  const auto deliver = boost::json::parse(deliver_line(reply)).as_object();
  EXPECT_EQ(deliver.at("outbox_id"), 9);
  EXPECT_EQ(deliver.at("text"), "a\nb\xEF\xBF\xBD\"");
  EXPECT_EQ(deliver.at("edits"), "p1");
  EXPECT_EQ(deliver.at("attachments").at(0).at("path"), "/state/a");
  EXPECT_EQ(deliver.at("may_be_repeat"), true);
  EXPECT_FALSE(boost::json::parse(deliver_line({.outbox_id = 1, .text = "x"})).as_object().contains("partial"));
}

}  // namespace
}  // namespace talaria::program
