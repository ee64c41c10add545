#include "channel/telegram/receiver.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "channel/telegram/json_fields.h"
#include "runtime/event.h"

namespace talaria::telegram {

namespace json = boost::json;

namespace {

constexpr int attempts = 3;
constexpr std::size_t most_files = 16;  // of one message; Telegram's own have one
constexpr std::size_t most_held = 1000;

// The same request may do better later. Where the code is 0, a proxy has refused, which does not speak for the file.
bool may_pass(const ApiFailure& failure) {
  return failure.kind != ApiFailure::Kind::refused || failure.code < 400 || failure.code == 429 || failure.code >= 500;
}

}  // namespace

Receiver::Receiver(ReceiverSettings settings, BotApi& api, const WallClock& clock)
    : settings_(std::move(settings)), api_(api), clock_(clock) {}

Task<Result<>> Receiver::take(Inbox& inbox, Update update) {
  if (!update.message) co_return Result<>{};
  const Message& message = *update.message;
  auto text = text_for_us(message, self_, settings_.groups);
  if (!text) co_return Result<>{};
  const bool admin = settings_.admins.allows(message);
  if (!admin && !settings_.allow.allows(message)) {
    inbox.passed_over(
        settings_.channel,
        printable(
            fmt::format("a message of user:{} ({}) in chat:{} is not answered: no rule of allow fits", message.from_id,
                        message.from_username.empty() ? "no username" : "@" + message.from_username, message.chat_id)));
    co_return Result<>{};
  }
  InboundEvent event = make_event(message, settings_.channel, std::move(*text), admin, clock_.now());
  if (auto fetched = co_await fetch_files(inbox, message, event); !fetched) co_return fetched;
  const auto accepted = co_await inbox.accept(std::move(event));
  // What the gateway calls invalid would be so for ever.
  if (!accepted && accepted.error().kind != ErrorKind::invalid) co_return std::unexpected(accepted.error());
  tried_since_.erase({message.chat_id, message.id});
  co_return Result<>{};
}

// A file that can't be had is told of in the text: the person sees that it was not read.
Task<Result<>> Receiver::fetch_files(Inbox& inbox, const Message& message, InboundEvent& event) {
  if (message.files.empty()) co_return Result<>{};
  if (tried_since_.size() >= most_held) tried_since_.clear();  // Telegram gave up on them
  const auto since = tried_since_.try_emplace({message.chat_id, message.id}, SteadyClock::now()).first->second;
  std::size_t n = 0;
  for (const FileRef& file : message.files) {
    if (++n > most_files) break;
    auto kept = co_await fetch(inbox, file, since + settings_.patience);
    if (kept) {
      event.attachments.push_back(std::move(*kept));
      continue;
    }
    if (kept.error().kind == ErrorKind::unavailable) co_return std::unexpected(kept.error());
    event.text += fmt::format("{}[{}: {}]", event.text.empty() ? "" : "\n", printable(truncate_utf8(file.name, 100)),
                              kept.error().what);
  }
  co_return Result<>{};
}

// `unavailable`: the gateway can't keep it now, or Telegram can't give it. Any other error is final.
Task<Result<Attachment>> Receiver::fetch(Inbox& inbox, FileRef file, SteadyClock::time_point patient_until) {
  if (file.size > max_attachment) co_return fail(ErrorKind::limit, "too large to be fetched");
  bool passing = true;
  for (int attempt = 0; attempt < attempts && SteadyClock::now() >= files_from_; ++attempt) {
    if (attempt > 0) co_await sleep_for(Millis(500) * attempt);
    const auto found =
        co_await api_.call("getFile", json::object{{"file_id", file.id}}, Deadline::in(settings_.download));
    if (!found) {
      const ApiFailure& failure = found.error();
      if (failure.says("file is too big")) co_return fail(ErrorKind::limit, "too large to be fetched");
      passing = may_pass(failure);
      if (failure.kind == ApiFailure::Kind::refused && failure.code == 400) break;
      files_from_ = std::max(files_from_, SteadyClock::now() + failure.retry_after);
      continue;
    }
    const auto* description = found->if_object();
    const std::string path(description != nullptr ? text_at(*description, "file_path") : std::string_view());
    passing = false;
    if (path.empty() || path.starts_with('/')) break;
    if (number_at(*description, "file_size") > max_attachment)
      co_return fail(ErrorKind::limit, "too large to be fetched");
    auto bytes = co_await api_.download(path, Deadline::in(settings_.download));
    if (!bytes) {
      passing = may_pass(bytes.error());
      continue;
    }
    if (bytes->size() > static_cast<std::size_t>(max_attachment))
      co_return fail(ErrorKind::limit, "too large to be fetched");
    auto kept = co_await inbox.keep(file.name, file.type, std::move(*bytes));
    if (!kept && kept.error().kind != ErrorKind::unavailable) co_return fail(ErrorKind::limit, "could not be kept");
    co_return kept;
  }
  const bool wait = passing && SteadyClock::now() < patient_until;
  co_return fail(wait ? ErrorKind::unavailable : ErrorKind::not_found, "could not be fetched");
}

}  // namespace talaria::telegram
