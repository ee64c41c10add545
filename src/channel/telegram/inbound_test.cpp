#include "channel/telegram/inbound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/telegram/allow.h"

namespace talaria::telegram {
namespace {

using testing::Optional;

const Identity self{77, "Talaria_Bot"};

// A message with the entities that Telegram would find in it: @names and /commands.
Message say(std::string text, bool direct = false) {
  Message message{.id = 5, .chat_id = direct ? 42 : -100, .direct = direct, .from_id = 42};
  std::size_t units = 0;
  for (std::size_t at = 0; at < text.size();) {
    const bool begins = (text[at] == '@' || text[at] == '/') && (at == 0 || text[at - 1] == ' ');
    std::size_t end = at + 1;
    if (begins) {
      while (end < text.size() &&
             (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_' || text[end] == '@'))
        ++end;
      message.entities.push_back({text[at] == '@' ? "mention" : "bot_command", units, end - at});
    }
    for (; at < end; ++at) {
      const auto byte = static_cast<unsigned char>(text[at]);
      if ((byte & 0xC0) != 0x80) units += byte >= 0xF0 ? 2 : 1;
    }
  }
  message.text = std::move(text);
  return message;
}

TEST(TelegramInbound, APrivateChatIsAlwaysForUs) {
  EXPECT_THAT(text_for_us(say("hello", true), self, Groups::off), Optional(std::string("hello")));
  EXPECT_THAT(text_for_us(say("/new@talaria_bot now", true), self, Groups::addressed),
              Optional(std::string("/new now")));
  EXPECT_FALSE(text_for_us(say("", true), self, Groups::addressed));
}

TEST(TelegramInbound, InAGroupWeMustBeMeant) {
  const auto heard = [](std::string text) { return text_for_us(say(std::move(text)), self, Groups::addressed); };
  EXPECT_FALSE(heard("talaria_bot is nice"));
  EXPECT_FALSE(heard("@other_bot hello"));
  EXPECT_FALSE(heard("/new"));
  EXPECT_FALSE(heard("/new@other_bot"));
  EXPECT_THAT(heard("@talaria_bot hello"), Optional(std::string("hello")));
  EXPECT_THAT(heard("@TALARIA_BOT: hello"), Optional(std::string("hello")));
  EXPECT_THAT(heard("/new@talaria_bot"), Optional(std::string("/new")));
  EXPECT_THAT(heard("one @talaria_bot two"), Optional(std::string("one two")));
  EXPECT_THAT(heard("👩‍👩‍👧 what now @talaria_bot?"),
              Optional(std::string("👩‍👩‍👧 what now?")));
  EXPECT_FALSE(heard("@talaria_bot")) << "nothing is asked";
}

TEST(TelegramInbound, AnswersToUsAndNamesWithoutUsername) {
  auto reply = say("and then?");
  reply.replies_to_user = 77;
  EXPECT_THAT(text_for_us(reply, self, Groups::addressed), Optional(std::string("and then?")));
  EXPECT_FALSE(text_for_us(reply, self, Groups::off));
  auto named = say("Talaria, hello");
  named.entities = {{"text_mention", 0, 7, 77}};
  EXPECT_THAT(text_for_us(named, self, Groups::addressed), Optional(std::string("hello")));
  named.entities[0].user_id = 78;
  EXPECT_FALSE(text_for_us(named, self, Groups::addressed));
}

TEST(TelegramInbound, WhatIsNoTextIsForUsLikeAnyMessage) {
  auto message = say("", true);
  message.unread = "[sticker 🙂]";
  EXPECT_THAT(text_for_us(message, self, Groups::addressed), Optional(std::string("[sticker 🙂]")));
  message.text = "look";
  EXPECT_THAT(text_for_us(message, self, Groups::addressed), Optional(std::string("look\n[sticker 🙂]")));
  message.direct = false;
  EXPECT_FALSE(text_for_us(message, self, Groups::addressed));
  message.replies_to_user = 77;
  EXPECT_TRUE(text_for_us(message, self, Groups::addressed));
}

TEST(TelegramInbound, AllMeansAllButOtherBotsCommands) {
  EXPECT_THAT(text_for_us(say("whatever"), self, Groups::all), Optional(std::string("whatever")));
  EXPECT_FALSE(text_for_us(say("/new@other_bot"), self, Groups::all));
}

TEST(TelegramInbound, NeverBotsNorNobody) {
  auto message = say("hello", true);
  message.from_bot = true;
  EXPECT_FALSE(text_for_us(message, self, Groups::all));
  message.from_bot = false;
  message.from_id = 0;
  EXPECT_FALSE(text_for_us(message, self, Groups::all));
  message.from_id = 77;
  EXPECT_FALSE(text_for_us(message, self, Groups::all));
}

TEST(TelegramInbound, EntitiesThatLieDoNoHarm) {
  auto message = say("@talaria_bot ä");
  message.entities = {{"mention", 0, 12}, {"mention", 0, 12}, {"mention", 500, 5}, {"bot_command", 13, 900}};
  EXPECT_THAT(text_for_us(message, self, Groups::addressed), Optional(std::string("ä")));
}

TEST(TelegramInbound, TheEvent) {
  auto message = say("x");
  message.thread = 9;
  message.from_name = "Alice";
  message.date = 1'000;
  const auto event = make_event(message, "tg", "hello", true, 2'000'000);
  EXPECT_EQ(event.route, (Route{"tg", "-100", "9", "5"}));
  EXPECT_EQ(event.sender.id, "42");
  EXPECT_TRUE(event.sender.admin);
  EXPECT_EQ(event.message_id, "5");
  EXPECT_EQ(event.received_at, 1'000'000);
  message.date = 9'999'999;  // of a clock ahead of ours
  EXPECT_EQ(make_event(message, "tg", "hello", true, 2'000'000).received_at, 2'000'000);
  EXPECT_EQ(make_event(say("x", true), "tg", "x", false, 1).route, (Route{"tg", "42", "", ""}));
}

TEST(TelegramAllow, FailsClosed) {
  auto message = say("x");
  message.from_username = "Alice";
  for (const char* good : {"*", "user:42", "username:alice", "chat:-100"})
    EXPECT_TRUE(AllowList({good}).allows(message)) << good;
  for (const char* bad :
       {"", "user:", "user:4", "user:420", "username:", "username:bob", "chat:100", "42", "nick:alice"})
    EXPECT_FALSE(AllowList({bad}).allows(message)) << bad;
  EXPECT_FALSE(AllowList({}).allows(message));
  message.from_username.clear();
  EXPECT_FALSE(AllowList({"username:"}).allows(message));
}

}  // namespace
}  // namespace talaria::telegram
