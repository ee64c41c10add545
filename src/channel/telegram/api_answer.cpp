#include "channel/telegram/api_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>

#include "base/text.h"
#include "channel/telegram/json_fields.h"

namespace talaria::telegram {

namespace json = boost::json;

namespace {

constexpr std::int64_t longest_wait = 24 * 3600;  // seconds

// No sense in the body: what the status alone says. A proxy that had no answer from behind it can't know what became of
// the request; and one that forbids something (a hotel's, a company's) does not speak for the chat.
ApiFailure without_words(int status) {
  const bool nobody_knows = status < 400 || status == 500 || status == 502 || status == 504 || status > 504;
  const bool of_the_chat = status == 400 || status == 403;
  return {nobody_knows ? ApiFailure::Kind::lost : ApiFailure::Kind::refused, of_the_chat ? 0 : status,
          fmt::format("the answer (HTTP {}) is not one of the Bot API", status)};
}

}  // namespace

bool ApiFailure::says(std::string_view words) const {
  if (kind != Kind::refused) return false;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return !std::ranges::search(what, words, {}, lower, lower).empty();
}

ApiResult<json::value> parse_answer(int status, std::string_view body) {
  boost::system::error_code ec;
  json::value value = json::parse(mend_surrogates(body), ec);
  auto* object = ec ? nullptr : value.if_object();
  if (object == nullptr || object->if_contains("ok") == nullptr || !object->at("ok").is_bool())
    return std::unexpected(without_words(status));
  if (object->at("ok").get_bool()) {
    auto* result = object->if_contains("result");
    if (result == nullptr) return std::unexpected(without_words(200));
    return std::move(*result);
  }
  ApiFailure failure{ApiFailure::Kind::refused, status, {}};
  if (const auto code = number_at(*object, "error_code"); code > 0 && code < 1000)
    failure.code = static_cast<int>(code);
  const auto words = text_at(*object, "description");
  failure.what = words.empty() ? fmt::format("error {}", failure.code) : printable(truncate_utf8(words, 300));
  if (const auto* parameters = object_at(*object, "parameters"); parameters != nullptr) {
    failure.retry_after =
        std::chrono::seconds(std::clamp<std::int64_t>(number_at(*parameters, "retry_after"), 0, longest_wait));
    failure.migrate_to = number_at(*parameters, "migrate_to_chat_id");
  }
  return std::unexpected(std::move(failure));
}

DeliveryError delivery_error(const ApiFailure& failure, bool repeatable) {
  using Fate = DeliveryError::Fate;
  const auto fate = [&] {
    if (failure.kind == ApiFailure::Kind::unsent) return Fate::retry;
    if (failure.kind == ApiFailure::Kind::lost) return repeatable ? Fate::retry : Fate::unknown;
    switch (failure.code) {
      case 400:  // no such chat, no right to write there, …
      case 403:  // blocked by the user, thrown out of the group
      case 413: return Fate::dead;
      default: return Fate::retry;  // 401, 404: the token, which can be mended; 429; 5xx in Telegram's own words
    }
  }();
  return {fate, failure.what, failure.retry_after};
}

}  // namespace talaria::telegram
