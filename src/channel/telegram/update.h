#pragma once
// What Telegram tells a bot: updates, each with a number that grows, most with a message
// (https://core.telegram.org/bots/api#update). Only what we look at is read; what can't be read is an update without a
// message, so that nothing that people send can stop the flow.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "base/result.h"

namespace talaria::telegram {

// Part of a text that means something: a mention, a command. Positions count UTF-16 code units.
struct Entity {
  std::string type;  // "mention", "text_mention", "bot_command"; others are left out
  std::size_t offset = 0;
  std::size_t length = 0;
  std::int64_t user_id = 0;  // of a text_mention
};

// A file that lies with Telegram.
struct FileRef {
  std::string id;
  std::string name;
  std::string type;       // media type; empty: unknown
  std::int64_t size = 0;  // bytes; 0: unknown
};

struct Message {
  std::int64_t id = 0;       // unique in its chat
  std::int64_t chat_id = 0;  // negative for groups
  bool direct = false;       // a private chat
  std::int64_t thread = 0;   // the topic of a forum; 0: none
  std::int64_t date = 0;     // seconds since 1970
  std::int64_t from_id = 0;  // 0: nobody (a channel's post)
  bool from_bot = false;
  std::string from_username;         // without @; may be empty
  std::string from_name;             // what people see
  std::string text;                  // or the caption of a file
  std::vector<Entity> entities;      // of the text
  std::int64_t replies_to_user = 0;  // whose message this one answers; 0: nobody's
  std::vector<FileRef> files;
  std::string unread;  // in words, what else it is: "[location 1.5, 2.5]"; empty: nothing, or a note of Telegram's own
};

struct Update {
  std::int64_t id = 0;
  std::optional<Message> message;
};

// The result of getUpdates, ordered by number. An element without a number is left out.
[[nodiscard]] std::vector<Update> read_updates(const boost::json::value& result);
// One update as Telegram posts it to a webhook.
[[nodiscard]] Result<Update> parse_update(std::string_view body);

}  // namespace talaria::telegram
