#include "channel/webhook/outbound.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/sha256.h"
#include "base/version.h"
#include "channel/text_split.h"
#include "channel/webhook/signature.h"

namespace talaria::webhook {
namespace json = boost::json;
namespace {

constexpr std::int64_t most_patience = 24 * 3'600;  // seconds
constexpr std::size_t most_of_an_answer = 64 * 1024;

std::unexpected<DeliveryError> undelivered(DeliveryError::Fate fate, std::string what, Millis retry_after = Millis{0}) {
  return std::unexpected(DeliveryError{fate, std::move(what), retry_after});
}

}  // namespace

std::string message_id(const Reply& reply) {
  const Route& route = reply.route;
  const std::string said = json::serialize(
      json::array{route.channel, route.conversation, route.thread, route.reply_to, replace_invalid_utf8(reply.text)});
  return fmt::format("msg_{}_{}", reply.outbox_id, to_hex(sha256(said), 10));
}

std::string message_body(const Reply& reply, UnixMillis now) {
  const auto text = [](std::string_view raw) { return json::string(replace_invalid_utf8(raw)); };
  json::object data{{"channel", text(reply.route.channel)},
                    {"conversation", text(reply.route.conversation)},
                    {"thread", text(reply.route.thread)},
                    {"reply_to", text(reply.route.reply_to)},
                    {"text", text(reply.text)}};
  json::array files;
  for (const Attachment& file : reply.attachments)
    files.push_back({{"name", text(file.name)}, {"type", text(file.type)}, {"size", file.size}});
  if (!files.empty()) data["attachments"] = std::move(files);
  return json::serialize(
      json::object{{"type", "message"}, {"timestamp", format_rfc3339(now)}, {"data", std::move(data)}});
}

Millis parse_retry_after(std::string_view value, UnixMillis now) {
  std::int64_t seconds = 0;
  const char* end = value.data() + value.size();
  if (const auto done = std::from_chars(value.data(), end, seconds); done.ec != std::errc{} || done.ptr != end) {
    tm date{};
    const std::string text(value);
    const char* rest = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
    if (rest == nullptr || *rest != '\0') return Millis{0};
    seconds = ::timegm(&date) - now / 1000;
  }
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, most_patience));
}

std::expected<Receipt, DeliveryError> judge(int status, std::string_view retry_after, std::string id, UnixMillis now) {
  using Fate = DeliveryError::Fate;
  if (status >= 200 && status < 300) return Receipt{std::move(id)};
  const bool passes = status < 400 || status >= 500 || status == 408 || status == 409 || status == 425 || status == 429;
  return undelivered(passes ? Fate::retry : Fate::dead, fmt::format("the receiver answered {}", status),
                     passes ? parse_retry_after(retry_after, now) : Millis{0});
}

Outbound::Outbound(asio::any_io_executor executor, const WallClock& clock, const std::string& url, std::string key,
                   const std::string& ca_file)
    : clock_(clock),
      url_(parse_http_url(url).value_or(HttpUrl{})),
      key_(std::move(key)),
      client_(executor, {.header_bytes = 16 * 1024, .body_bytes = most_of_an_answer, .ca_file = ca_file}) {}

Task<std::expected<Receipt, DeliveryError>> Outbound::post(Reply reply, Deadline deadline) {
  const UnixMillis now = clock_.now();
  const std::string id = message_id(reply);
  HttpRequest request;
  request.method = "POST";
  request.target = url_.target;
  request.body = message_body(reply, now);
  const std::int64_t seconds = now / 1000;
  request.headers.set("Content-Type", "application/json");
  request.headers.set("User-Agent", fmt::format("talaria/{}", program_version()));
  request.headers.set("webhook-id", id);
  request.headers.set("webhook-timestamp", fmt::format("{}", seconds));
  request.headers.set("webhook-signature", sign_standard(key_, id, seconds, request.body));
  int status = 0;
  std::string retry_after;
  const auto answer = co_await client_.stream(
      url_.origin, std::move(request), deadline,
      [&](const HttpResponse& head) {
        status = head.status;
        retry_after = head.headers.get("Retry-After");
        return true;
      },
      [](std::string_view) { return true; });
  // The status says it all, whatever became of the body.
  if (status != 0) co_return judge(status, retry_after, id, now);
  co_return undelivered(DeliveryError::Fate::retry, answer ? "the receiver gave no answer" : answer.error().error.what);
}

}  // namespace talaria::webhook
