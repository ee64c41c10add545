#include "channel/telegram/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <fstream>

#include "channel/telegram/json_fields.h"
#include "channel/telegram/markup.h"
#include "channel/text_split.h"

namespace talaria::telegram {

namespace json = boost::json;
using Fate = DeliveryError::Fate;

namespace {

constexpr std::string_view repeat_mark = "(may be a repeat) ";
constexpr std::size_t most_moves = 1000;
constexpr std::int64_t largest_photo = 10 * 1024 * 1024;  // sendPhoto; larger ones go as documents

bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.size() <= 18 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// A number, or the "@name" of a public group or channel.
bool is_chat(std::string_view chat) {
  if (!chat.starts_with('@')) return is_number(chat);
  chat.remove_prefix(1);
  return !chat.empty() && chat.size() <= 64 && std::ranges::all_of(chat, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::int64_t number(std::string_view text) { return std::strtoll(std::string(text).c_str(), nullptr, 10); }

// "-100123" → -100123, "@name" → "@name".
json::value chat_value(const std::string& chat) {
  return chat.starts_with('@') ? json::value(chat) : json::value(number(chat));
}

std::unexpected<DeliveryError> undelivered(Fate fate, std::string what, Millis retry_after = Millis(0)) {
  return std::unexpected(DeliveryError{fate, std::move(what), retry_after});
}

std::string message_id(const json::value& result) {
  const auto* message = result.if_object();
  const auto id = message != nullptr ? number_at(*message, "message_id") : 0;
  return id > 0 ? std::to_string(id) : std::string();
}

// Telegram's words for a message that it can't show as HTML.
bool refuses_markup(const ApiFailure& failure) {
  return failure.code == 400 && (failure.says("can't parse entities") || failure.says("message is too long") ||
                                 failure.says("message text is empty") || failure.says("ENTITY"));
}
bool misses_answered_message(const ApiFailure& failure) {
  return failure.code == 400 && (failure.says("repl") && failure.says("not found"));
}
bool edit_is_hopeless(const ApiFailure& failure) {
  return failure.code == 400 && (failure.says("message to edit not found") || failure.says("message can't be edited") ||
                                 failure.says("MESSAGE_ID_INVALID"));
}

bool is_photo(const Attachment& file) {
  return file.size <= largest_photo && (file.type == "image/jpeg" || file.type == "image/png");
}

}  // namespace

Sender::Sender(asio::any_io_executor executor, BotApi& api, Pace pace, SenderTimes times)
    : executor_(executor), api_(api), pace_(std::move(pace)), times_(times), stopped_(executor) {}

Sender::~Sender() { files_.join(); }

void Sender::stop() { stopped_.set(); }

std::string Sender::current(const std::string& chat) const {
  const auto found = moved_.find(chat);
  return found == moved_.end() ? chat : found->second;
}

void Sender::note(const Target& target, const ApiFailure& failure) {
  const auto now = SteadyClock::now();
  if (failure.code == 429) pace_.blocked(target.chat, now + std::max(failure.retry_after, Millis(1'000)), now);
  if (failure.migrate_to != 0 && moved_.size() < most_moves) moved_[target.chat] = std::to_string(failure.migrate_to);
}

// `patient`: part of the reply is out already and nobody keeps count, so that it had better be finished.
Task<std::expected<void, DeliveryError>> Sender::wait_turn(std::string chat, Pace::Act act, bool partial,
                                                           bool patient) {
  using Nothing = std::expected<void, DeliveryError>;
  const auto begun = SteadyClock::now();
  const Millis patience = patient ? Millis(65'000) : times_.patience;
  for (;;) {
    if (stopped_.is_set()) co_return Nothing(undelivered(Fate::retry, "the channel is stopping"));
    const auto now = SteadyClock::now();
    const auto ready = pace_.ready_at(chat, act, partial, now);
    if (ready <= now) {
      pace_.took(chat, act, now);
      co_return Nothing();
    }
    if (ready - begun > patience) {
      const auto left = std::chrono::ceil<Millis>(ready - now);
      co_return Nothing(undelivered(Fate::retry, "Telegram's limit for this chat is reached", left));
    }
    co_await stopped_.wait(Deadline(ready));
  }
}

Task<ApiResult<std::string>> Sender::send_text(Target& target, std::string markdown, std::string mark) {
  const Rendered rendered = render_markdown(markdown);
  bool html = rendered.markup && length_in(TextUnit::utf16, rendered.text) + mark.size() <= message_limit;
  bool retried_plain = false;
  for (int attempt = 0; attempt < 5; ++attempt) {
    json::object parameters{{"chat_id", chat_value(target.chat)}};
    // What was refused goes as the agent wrote it: nothing of it is lost then.
    parameters["text"] = mark + (html ? rendered.html : rendered.markup || retried_plain ? markdown : rendered.text);
    if (html) parameters["parse_mode"] = "HTML";
    if (!target.thread.empty()) parameters["message_thread_id"] = number(target.thread);
    if (!target.reply_to.empty()) {
      parameters["reply_parameters"] =
          json::object{{"message_id", number(target.reply_to)}, {"allow_sending_without_reply", true}};
    }
    auto sent = co_await api_.call("sendMessage", std::move(parameters), Deadline::in(times_.call));
    if (sent) co_return message_id(*sent);
    note(target, sent.error());
    if (sent.error().migrate_to != 0) {
      target.chat = std::to_string(sent.error().migrate_to);
      target.reply_to.clear();
    } else if (!retried_plain && refuses_markup(sent.error())) {
      html = false;
      retried_plain = true;
    } else if (!target.reply_to.empty() && misses_answered_message(sent.error())) {
      target.reply_to.clear();
    } else {
      co_return std::unexpected(std::move(sent.error()));
    }
  }
  co_return std::unexpected(ApiFailure{ApiFailure::Kind::refused, 0, "sendMessage: refused in every form"});
}

Task<ApiResult<std::string>> Sender::edit_text(Target& target, std::string message, std::string markdown) {
  const Rendered rendered = render_markdown(markdown);
  bool html = rendered.markup && length_in(TextUnit::utf16, rendered.text) <= message_limit;
  for (bool retried_plain = false;; retried_plain = true) {
    json::object parameters{{"chat_id", chat_value(target.chat)}, {"message_id", number(message)}};
    parameters["text"] = html ? rendered.html : rendered.markup || retried_plain ? markdown : rendered.text;
    if (html) parameters["parse_mode"] = "HTML";
    auto edited = co_await api_.call("editMessageText", std::move(parameters), Deadline::in(times_.call));
    if (edited) co_return message;
    note(target, edited.error());
    if (edited.error().says("message is not modified")) co_return message;
    if (retried_plain || !refuses_markup(edited.error())) co_return std::unexpected(std::move(edited.error()));
    html = false;
  }
}

// A message that can't be deleted, any more or any longer, stays.
Task<std::expected<void, DeliveryError>> Sender::delete_message(Target& target, std::string message) {
  if (auto turn = co_await wait_turn(target.chat, Pace::Act::edit, false, false); !turn) co_return turn;
  json::object parameters{{"chat_id", chat_value(target.chat)}, {"message_id", number(message)}};
  auto deleted = co_await api_.call("deleteMessage", std::move(parameters), Deadline::in(times_.call));
  if (deleted) co_return std::expected<void, DeliveryError>();
  note(target, deleted.error());
  if (deleted.error().code == 400) co_return std::expected<void, DeliveryError>();
  co_return std::unexpected(delivery_error(deleted.error(), true));
}

Task<Result<std::string>> Sender::read_file(std::string path) {
  co_return co_await asio::co_spawn(
      files_.get_executor(),
      [](std::string name) -> Task<Result<std::string>> {
        std::ifstream in(name, std::ios::binary);
        std::string bytes(static_cast<std::size_t>(max_attachment) + 1, '\0');
        in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        if (in.bad() || !in.is_open()) co_return fail(ErrorKind::unavailable, "the file can't be read");
        bytes.resize(static_cast<std::size_t>(in.gcount()));
        if (bytes.size() > static_cast<std::size_t>(max_attachment))
          co_return fail(ErrorKind::limit, "the file is larger than an attachment may be");
        co_return bytes;
      }(std::move(path)),
      asio::use_awaitable);
}

Task<ApiResult<std::string>> Sender::send_file(Target& target, Attachment file, std::string mark) {
  auto bytes = co_await read_file(file.path);
  if (!bytes) {
    // It won't come back: the reply goes on without it.
    co_return co_await send_text(target, fmt::format("({}: {})", file.name, bytes.error().what), std::move(mark));
  }
  bool photo = is_photo(file);
  for (int attempt = 0; attempt < 4; ++attempt) {
    std::vector<std::pair<std::string, std::string>> fields{{"chat_id", target.chat}};
    if (!target.thread.empty()) fields.emplace_back("message_thread_id", target.thread);
    if (!mark.empty()) fields.emplace_back("caption", mark);
    auto sent =
        co_await api_.upload(photo ? "sendPhoto" : "sendDocument", std::move(fields),
                             {photo ? "photo" : "document", file.name, file.type, *bytes}, Deadline::in(times_.upload));
    if (sent) co_return message_id(*sent);
    note(target, sent.error());
    if (sent.error().migrate_to != 0) {
      target.chat = std::to_string(sent.error().migrate_to);
    } else if (photo && sent.error().code == 400) {
      photo = false;  // odd dimensions, a damaged picture
    } else {
      co_return std::unexpected(std::move(sent.error()));
    }
  }
  co_return std::unexpected(ApiFailure{ApiFailure::Kind::refused, 0, "sendDocument: refused in every form"});
}

Task<Sender::Outcome> Sender::deliver(Reply reply) {
  const Route& route = reply.route;
  if (!is_chat(route.conversation))
    co_return undelivered(Fate::dead,
                          fmt::format("\"{}\" is no chat of Telegram: a number is, or \"@name\"", route.conversation));
  if (!route.thread.empty() && !is_number(route.thread))
    co_return undelivered(Fate::dead, fmt::format("\"{}\" is no topic of Telegram: a number is", route.thread));
  if (stopped_.is_set()) co_return undelivered(Fate::retry, "the channel is stopping");

  Target target{current(route.conversation), route.thread, is_number(route.reply_to) ? route.reply_to : ""};
  const auto texts =
      split_text(reply.text, message_limit - repeat_mark.size(), TextUnit::utf16, reply.partial ? 1 : SIZE_MAX);
  const std::size_t shown = texts.size();
  const std::size_t parts = shown + (reply.partial ? 0 : reply.attachments.size());
  std::string edits = is_number(reply.edits) ? reply.edits : "";
  if (!edits.empty() && shown == 0 && !reply.partial && reply.parts_sent == 0) {
    // The answer turned out to be files alone: no text is left for the message that showed its beginning.
    if (auto gone = co_await delete_message(target, std::exchange(edits, {})); !gone)
      co_return std::unexpected(std::move(gone.error()));
  }
  std::string last = edits;
  bool mark = reply.may_be_repeat;
  bool something_is_out = false;
  for (auto part = static_cast<std::size_t>(std::max(reply.parts_sent, 0)); part < parts;) {
    const bool edit = part == 0 && !edits.empty() && shown > 0;
    const auto act = edit ? Pace::Act::edit : Pace::Act::send;
    const bool uncounted = something_is_out && !reply.part_sent;
    if (auto turn = co_await wait_turn(target.chat, act, reply.partial, uncounted); !turn) {
      if (uncounted) turn.error().fate = Fate::unknown;
      co_return std::unexpected(std::move(turn.error()));
    }
    ApiResult<std::string> done;
    const std::string begins = mark ? std::string(repeat_mark) : std::string();
    if (edit) {
      done = co_await edit_text(target, edits, texts[0]);
    } else if (part < shown) {
      done = co_await send_text(target, texts[part], begins);
    } else {
      done = co_await send_file(target, reply.attachments[part - shown], begins);
    }
    if (!done) {
      const auto moved_to = done.error().migrate_to;
      if (edit && (moved_to != 0 || edit_is_hopeless(done.error()))) {
        if (moved_to != 0) {
          target.chat = std::to_string(moved_to);
          target.reply_to.clear();
        }
        edits.clear();  // a new message takes its place
        continue;
      }
      if (uncounted && done.error().code == 429) continue;  // its turn comes
      DeliveryError error = delivery_error(done.error(), edit);
      if (uncounted && error.fate == Fate::retry) error.fate = Fate::unknown;
      co_return std::unexpected(std::move(error));
    }
    last = *done;
    if (!edit) mark = false;
    target.reply_to.clear();  // the first message alone points to what it answers
    something_is_out = something_is_out || !edit;
    if (++part < parts && reply.part_sent) co_await reply.part_sent();
  }
  co_return Receipt{last};
}

Task<> Sender::show_typing(Route route) {
  if (!is_chat(route.conversation) || stopped_.is_set()) co_return;
  const Target target{current(route.conversation), route.thread, {}};
  if (pace_.blocked_until(target.chat) > SteadyClock::now()) co_return;
  json::object parameters{{"chat_id", chat_value(target.chat)}, {"action", "typing"}};
  if (is_number(target.thread)) parameters["message_thread_id"] = number(target.thread);
  const auto shown = co_await api_.call("sendChatAction", std::move(parameters), Deadline::in(Millis(5'000)));
  if (!shown) note(target, shown.error());
}

}  // namespace talaria::telegram
