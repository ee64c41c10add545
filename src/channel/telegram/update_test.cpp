#include "channel/telegram/update.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

namespace talaria::telegram {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

Message message_of(std::string_view fields) {
  const auto update = parse_update(
      R"({"update_id": 7, "message": {"message_id": 5, "date": 1700000000, "chat": {"id": 42, "type": "private"},)" +
      std::string(fields) + "}}");
  if (!update || !update->message) {
    ADD_FAILURE() << "no message: " << fields;
    return {};
  }
  return *update->message;
}

TEST(TelegramUpdate, ReadsATextOfAPerson) {
  const auto message = message_of(
      R"("from": {"id": 42, "is_bot": false, "first_name": "Alice", "last_name": "A.", "username": "alice"},
         "text": "/new@bot hello", "entities": [{"type": "bot_command", "offset": 0, "length": 8}, {"type": "url", "offset": 1, "length": 2}])");
  EXPECT_EQ(message.id, 5);
  EXPECT_EQ(message.chat_id, 42);
  EXPECT_TRUE(message.direct);
  EXPECT_EQ(message.from_name, "Alice A.");
  EXPECT_EQ(message.from_username, "alice");
  EXPECT_EQ(message.text, "/new@bot hello");
  EXPECT_THAT(message.entities, SizeIs(1));
  EXPECT_EQ(message.date, 1'700'000'000);
}

TEST(TelegramUpdate, TopicsAndAnswers) {
  const auto topic = message_of(
      R"("from": {"id": 1}, "text": "x", "is_topic_message": true, "message_thread_id": 9,
         "reply_to_message": {"message_id": 9, "from": {"id": 77}, "forum_topic_created": {"name": "t"}})");
  EXPECT_EQ(topic.thread, 9);
  EXPECT_EQ(topic.replies_to_user, 0);
  const auto reply =
      message_of(R"("from": {"id": 1}, "text": "x", "message_thread_id": 9, "reply_to_message": {"from": {"id": 77}})");
  EXPECT_EQ(reply.thread, 0);
  EXPECT_EQ(reply.replies_to_user, 77);
}

TEST(TelegramUpdate, FilesWithTheirCaption) {
  const auto message = message_of(
      R"("from": {"id": 1}, "caption": "look", "caption_entities": [{"type": "mention", "offset": 0, "length": 4}],
         "photo": [{"file_id": "s", "width": 90, "height": 90, "file_size": 1}, {"file_id": "l", "width": 900, "height": 900, "file_size": 9}],
         "document": {"file_id": "d", "file_name": "a.txt", "mime_type": "text/plain", "file_size": 3}, "voice": {"file_id": "v"})");
  EXPECT_EQ(message.text, "look");
  EXPECT_THAT(message.entities, SizeIs(1));
  ASSERT_THAT(message.files, SizeIs(3));
  EXPECT_EQ(message.files[0].id, "l");
  EXPECT_EQ(message.files[1].name, "a.txt");
  EXPECT_EQ(message.files[2].type, "audio/ogg");
}

TEST(TelegramUpdate, WhatIsNoTextIsToldInWords) {
  const auto told = [](std::string fields) { return message_of(R"("from": {"id": 1})" + std::move(fields)).unread; };
  EXPECT_EQ(told(R"(, "location": {"latitude": 1.5, "longitude": -2})"), "[location 1.5, -2]");
  EXPECT_EQ(told(R"(, "location": {}, "venue": {"title": "Bar", "location": {"latitude": 1, "longitude": 2.25}})"),
            "[venue Bar, 1, 2.25]");
  EXPECT_EQ(told(R"(, "contact": {"first_name": "Bob", "phone_number": "+123"})"), "[contact Bob, +123]");
  EXPECT_EQ(told(R"(, "sticker": {"file_id": "s", "emoji": "🙂"})"), "[sticker 🙂]");
  EXPECT_EQ(told(R"(, "sticker": {})"), "[sticker]");
  EXPECT_EQ(told(R"(, "poll": {"question": "Why?", "options": []})"), "[poll Why?]");
  EXPECT_EQ(told(R"(, "dice": {"emoji": "🎲", "value": 4})"), "[dice 🎲, 4]");
  EXPECT_EQ(told(R"(, "hologram": {}, "caption": "look")"), "[a message of a kind that can't be read here]");
  EXPECT_EQ(told(""), "[a message of a kind that can't be read here]");
  EXPECT_EQ(told(R"(, "text": "x", "sticker": {})"), "");
  EXPECT_EQ(told(R"(, "document": {"file_id": "d"}, "animation": {"file_id": "d"})"), "");
  for (const char* note : {"pinned_message", "new_chat_title", "left_chat_member", "forum_topic_closed", "users_shared",
                           "chat_background_set", "video_chat_started"})
    EXPECT_EQ(told(fmt::format(R"(, "{}": {{}})", note)), "") << note;
}

TEST(TelegramUpdate, InAGroupWhatNobodyKnowsMayBeANote) {
  const auto told = [](std::string_view fields) {
    const auto update = parse_update(
        R"({"update_id": 7, "message": {"message_id": 5, "chat": {"id": -1, "type": "group"}, "from": {"id": 1})" +
        std::string(fields) + "}}");
    return update->message->unread;
  };
  EXPECT_EQ(told(R"(, "hologram": {})"), "");
  EXPECT_EQ(told(R"(, "hologram": {}, "reply_to_message": {"from": {"id": 77}})"),
            "[a message of a kind that can't be read here]");
  EXPECT_EQ(told(R"(, "sticker": {"emoji": "🙂"})"), "[sticker 🙂]");
  EXPECT_EQ(told(R"(, "new_chat_members": [], "reply_to_message": {"from": {"id": 77}})"), "");
}

// Whatever people or a broken server send, the number is read, so that the flow goes on behind it.
TEST(TelegramUpdate, WhatCanNotBeReadIsAnUpdateWithoutMessage) {
  for (const char* message :
       {"1", "null", "{}", R"({"message_id": 5})", R"({"message_id": "5", "chat": {"id": 1, "type": "private"}})",
        R"({"message_id": 5, "chat": {"id": 1, "type": "channel"}})",
        R"({"message_id": 5, "chat": {"type": "private"}})"}) {
    const auto update = parse_update(std::string(R"({"update_id": 7, "message": )") + message + "}");
    ASSERT_TRUE(update) << message;
    EXPECT_EQ(update->id, 7);
    EXPECT_FALSE(update->message) << message;
  }
  const auto edited =
      parse_update(R"({"update_id": 8, "edited_message": {"message_id": 5, "chat": {"id": 1, "type": "private"}}})");
  EXPECT_FALSE(edited->message);
  for (const char* bad : {"", "[]", "{", R"({"update_id": "7"})", R"({"update_id": -1})", R"({"update_id": 1e300})"}) {
    EXPECT_FALSE(parse_update(bad)) << bad;
  }
}

TEST(TelegramUpdate, ABatchIsOrderedByNumber) {
  const auto updates =
      read_updates(boost::json::parse(R"([{"update_id": 3}, {"update_id": 1}, 5, {"x": 1}, {"update_id": 2}])"));
  std::vector<std::int64_t> ids;
  for (const auto& update : updates) ids.push_back(update.id);
  EXPECT_THAT(ids, ElementsAre(1, 2, 3));
  EXPECT_TRUE(read_updates(boost::json::parse("{}")).empty());
}

}  // namespace
}  // namespace talaria::telegram
