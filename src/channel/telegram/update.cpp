#include "channel/telegram/update.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>

#include "base/text.h"
#include "channel/telegram/json_fields.h"
#include "channel/text_split.h"

namespace talaria::telegram {

namespace json = boost::json;

namespace {

constexpr std::size_t most_entities = 200;

std::vector<Entity> read_entities(const json::array* array) {
  std::vector<Entity> entities;
  if (array == nullptr) return entities;
  for (const auto& value : *array) {
    const auto* object = value.if_object();
    if (object == nullptr || entities.size() >= most_entities) continue;
    const auto type = text_at(*object, "type");
    const auto offset = number_at(*object, "offset");
    const auto length = number_at(*object, "length");
    if (type != "mention" && type != "text_mention" && type != "bot_command") continue;
    if (offset < 0 || length <= 0 || offset > 1'000'000 || length > 1'000'000) continue;
    Entity entity{std::string(type), static_cast<std::size_t>(offset), static_cast<std::size_t>(length)};
    if (const auto* user = object_at(*object, "user")) entity.user_id = number_at(*user, "id");
    entities.push_back(std::move(entity));
  }
  return entities;
}

// A document, voice message and so on: `name` and `type` stand in where Telegram tells none.
void add_file(Message& message, const json::object& in, std::string_view field, std::string_view name,
              std::string_view type) {
  const auto* file = object_at(in, field);
  if (file == nullptr || text_at(*file, "file_id").empty()) return;
  const auto given_name = text_at(*file, "file_name");
  const auto given_type = text_at(*file, "mime_type");
  message.files.push_back({std::string(text_at(*file, "file_id")), std::string(given_name.empty() ? name : given_name),
                           std::string(given_type.empty() ? type : given_type), number_at(*file, "file_size")});
}

// A photo comes in several sizes; the largest is the photo.
void add_photo(Message& message, const json::object& in) {
  const auto* sizes = array_at(in, "photo");
  if (sizes == nullptr) return;
  FileRef best;
  std::int64_t best_area = -1;
  for (const auto& value : *sizes) {
    const auto* size = value.if_object();
    if (size == nullptr || text_at(*size, "file_id").empty()) continue;
    const auto side = [&](std::string_view name) {
      return std::clamp<std::int64_t>(number_at(*size, name), 0, 1'000'000);
    };
    if (const auto area = side("width") * side("height"); area > best_area) {
      best_area = area;
      best = {std::string(text_at(*size, "file_id")), "photo.jpg", "image/jpeg", number_at(*size, "file_size")};
    }
  }
  if (best_area >= 0) message.files.push_back(std::move(best));
}

// Notes of Telegram's own, that somebody joined and the like, by how the names of their fields begin.
constexpr std::string_view notes[] = {"new_chat_",
                                      "left_chat_",
                                      "delete_chat_photo",
                                      "group_chat_created",
                                      "supergroup_chat_created",
                                      "channel_chat_created",
                                      "message_auto_delete_timer_changed",
                                      "migrate_",
                                      "pinned_message",
                                      "successful_payment",
                                      "refunded_payment",
                                      "user_shared",
                                      "users_shared",
                                      "chat_",
                                      "gift",
                                      "unique_gift",
                                      "connected_website",
                                      "write_access_allowed",
                                      "passport_data",
                                      "proximity_alert_triggered",
                                      "boost_added",
                                      "checklist_tasks_",
                                      "direct_message_price_changed",
                                      "forum_topic_",
                                      "general_forum_topic_",
                                      "paid_message_price_changed",
                                      "poll_option_",
                                      "suggested_post_",
                                      "video_chat_",
                                      "voice_chat_",
                                      "web_app_data"};

bool is_note(const json::object& in) {
  return std::ranges::any_of(in, [](const json::key_value_pair& field) {
    return std::ranges::any_of(notes, [&](std::string_view start) { return field.key().starts_with(start); });
  });
}

std::string coordinates(const json::object& location) {
  const auto degrees = [&](std::string_view name) {
    const auto* value = location.if_contains(name);
    return value != nullptr && value->is_number() ? value->to_number<double>() : 0.0;
  };
  return fmt::format("{}, {}", degrees("latitude"), degrees("longitude"));
}

std::string say_kind(std::string_view kind, std::initializer_list<std::string_view> parts) {
  std::string out = fmt::format("[{}", kind);
  std::string_view between = " ";
  for (const auto part : parts) {
    if (part.empty()) continue;
    out += between;
    out += replace_invalid_utf8(part);
    between = ", ";
  }
  return out + "]";
}

// A message without a text or file that we can read.
std::string describe(const json::object& in) {
  if (const auto* venue = object_at(in, "venue")) {  // has a location as well
    const auto* location = object_at(*venue, "location");
    return say_kind("venue", {text_at(*venue, "title"), text_at(*venue, "address"),
                              location != nullptr ? coordinates(*location) : std::string()});
  }
  if (const auto* location = object_at(in, "location")) return say_kind("location", {coordinates(*location)});
  if (const auto* contact = object_at(in, "contact")) {
    return say_kind("contact", {text_at(*contact, "first_name"), text_at(*contact, "last_name"),
                                text_at(*contact, "phone_number")});
  }
  if (const auto* sticker = object_at(in, "sticker")) return say_kind("sticker", {text_at(*sticker, "emoji")});
  if (const auto* poll = object_at(in, "poll")) return say_kind("poll", {text_at(*poll, "question")});
  if (const auto* dice = object_at(in, "dice"))
    return say_kind("dice", {text_at(*dice, "emoji"), std::to_string(number_at(*dice, "value"))});
  for (const std::string_view kind : {"game", "invoice", "checklist", "story"})
    if (const auto* thing = object_at(in, kind)) return say_kind(kind, {text_at(*thing, "title")});
  return {};
}

void read_sender(Message& message, const json::object& in) {
  const auto* from = object_at(in, "from");
  if (from == nullptr) return;
  message.from_id = number_at(*from, "id");
  message.from_bot = flag_at(*from, "is_bot");
  message.from_username = replace_invalid_utf8(text_at(*from, "username"));
  message.from_name = replace_invalid_utf8(text_at(*from, "first_name"));
  if (const auto last = text_at(*from, "last_name"); !last.empty())
    message.from_name += " " + replace_invalid_utf8(last);
}

std::optional<Message> read_message(const json::object& in) {
  const auto* chat = object_at(in, "chat");
  Message message;
  message.id = number_at(in, "message_id");
  if (chat == nullptr || message.id <= 0) return std::nullopt;
  message.chat_id = number_at(*chat, "id");
  const auto kind = text_at(*chat, "type");
  if (message.chat_id == 0 || (kind != "private" && kind != "group" && kind != "supergroup")) return std::nullopt;
  message.direct = kind == "private";
  message.date = number_at(in, "date");
  // In a group without topics, too, an answer carries the thread it belongs to; that is none to write to.
  if (flag_at(in, "is_topic_message")) message.thread = std::max<std::int64_t>(number_at(in, "message_thread_id"), 0);
  read_sender(message, in);
  const bool has_text = in.contains("text");
  message.text = replace_invalid_utf8(text_at(in, has_text ? "text" : "caption"));
  message.entities = read_entities(array_at(in, has_text ? "entities" : "caption_entities"));
  if (const auto* answered = object_at(in, "reply_to_message"); answered != nullptr) {
    // Each message of a topic "answers" the note that the topic was made.
    const auto* author = object_at(*answered, "from");
    if (author != nullptr && !answered->contains("forum_topic_created"))
      message.replies_to_user = number_at(*author, "id");
  }
  add_photo(message, in);
  add_file(message, in, "document", "file", "");
  add_file(message, in, "audio", "audio", "");
  add_file(message, in, "voice", "voice.ogg", "audio/ogg");
  add_file(message, in, "video", "video.mp4", "video/mp4");
  add_file(message, in, "video_note", "video.mp4", "video/mp4");
  if (has_text || !message.files.empty() || is_note(in)) return message;
  message.unread = describe(in);
  // In a group it may be a note of a new kind, unless it answers somebody.
  if (message.unread.empty() && (message.direct || message.replies_to_user != 0))
    message.unread = "[a message of a kind that can't be read here]";
  return message;
}

std::optional<Update> read_update(const json::value& value) {
  const auto* object = value.if_object();
  if (object == nullptr) return std::nullopt;
  Update update;
  update.id = number_at(*object, "update_id");
  if (update.id <= 0 || update.id > 1'000'000'000'000) return std::nullopt;
  if (const auto* message = object_at(*object, "message")) update.message = read_message(*message);
  return update;
}

}  // namespace

std::vector<Update> read_updates(const json::value& result) {
  std::vector<Update> updates;
  const auto* array = result.if_array();
  if (array == nullptr) return updates;
  for (const auto& value : *array)
    if (auto update = read_update(value)) updates.push_back(std::move(*update));
  std::ranges::sort(updates, {}, &Update::id);
  return updates;
}

Result<Update> parse_update(std::string_view body) {
  boost::system::error_code ec;
  const json::value value = json::parse(mend_surrogates(body), ec);
  if (ec) return fail(ErrorKind::invalid, fmt::format("not JSON: {}", ec.message()));
  if (auto update = read_update(value)) return std::move(*update);
  return fail(ErrorKind::invalid, "not an update of the Bot API");
}

}  // namespace talaria::telegram
