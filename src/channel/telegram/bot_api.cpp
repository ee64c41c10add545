#include "channel/telegram/bot_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/text.h"

namespace talaria::telegram {

namespace json = boost::json;

namespace {

// A kept connection is left alone after so long: servers close idle ones, and a call that meets the close can't know
// whether it arrived.
constexpr Millis idle_time{10'000};
constexpr std::size_t room_for_head = 64 * 1024;

}  // namespace

std::string bot_number(std::string_view token) {
  const auto colon = token.find(':');
  if (colon == token.npos || colon == 0 || colon > 20 || token.size() > 200) return {};
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool good = std::ranges::all_of(token.substr(0, colon), digit) && token.size() > colon + 1 &&
                    std::ranges::all_of(token.substr(colon + 1), [&](char c) {
                      return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
                    });
  return good ? std::string(token.substr(0, colon)) : std::string();
}

BotApi::BotApi(asio::any_io_executor executor, std::string_view root, std::string token, const std::string& ca_file)
    : token_(std::move(token)),
      executor_(executor),
      ca_file_(ca_file),
      polls_(executor, {.idle_per_origin = 1, .ca_file = ca_file}) {
  connect_anew();
  if (bot_number(token_).empty()) {
    defect_ = "the token is not one of a bot: BotFather gives it as NUMBER:LETTERS";
    return;
  }
  auto url = parse_http_url(root);
  if (!url) {
    defect_ = url.error().what;
    return;
  }
  root_ = std::move(*url);
  while (root_.target.ends_with('/')) root_.target.pop_back();
}

// A request that is under way goes on with what it has.
void BotApi::connect_anew() {
  calls_ = std::make_unique<HttpClient>(
      executor_, HttpClientOptions{.body_bytes = static_cast<std::size_t>(max_attachment) + room_for_head,
                                   .idle_time = idle_time,
                                   .ca_file = ca_file_,
                                   .replays = false});
}

std::string BotApi::without_token(std::string text) const {
  for (auto at = text.find(token_); at != text.npos && !token_.empty(); at = text.find(token_, at))
    text.replace(at, token_.size(), "***");
  return text;
}

ApiFailure BotApi::transport_failure(const HttpFailure& failure) const {
  return {failure.sent ? ApiFailure::Kind::lost : ApiFailure::Kind::unsent, 0, without_token(failure.error.what)};
}

Task<ApiResult<json::value>> BotApi::post(HttpClient& client, std::string method, std::string type, std::string body,
                                          Deadline deadline) {
  if (!defect_.empty()) co_return std::unexpected(ApiFailure{ApiFailure::Kind::unsent, 0, defect_});
  HttpRequest request;
  request.method = "POST";
  request.target = fmt::format("{}/bot{}/{}", root_.target, token_, method);
  request.headers.set("Content-Type", std::move(type));
  request.body = std::move(body);
  const auto response = co_await client.request(root_.origin, std::move(request), deadline);
  if (!response) co_return std::unexpected(transport_failure(response.error()));
  auto answer = parse_answer(response->status, response->body);
  if (!answer) answer.error().what = fmt::format("{}: {}", method, without_token(std::move(answer.error().what)));
  co_return answer;
}

Task<ApiResult<json::value>> BotApi::call(std::string method, json::object parameters, Deadline deadline) {
  std::string body = json::serialize(parameters);
  co_return co_await post(*calls_, std::move(method), "application/json", std::move(body), deadline);
}

Task<ApiResult<json::value>> BotApi::poll(json::object parameters, Deadline deadline) {
  std::string body = json::serialize(parameters);
  co_return co_await post(polls_, "getUpdates", "application/json", std::move(body), deadline);
}

Task<ApiResult<json::value>> BotApi::upload(std::string method, std::vector<std::pair<std::string, std::string>> fields,
                                            FormFile file, Deadline deadline) {
  Form form = make_form(fields, file);
  co_return co_await post(*calls_, std::move(method), std::move(form.content_type), std::move(form.body), deadline);
}

Task<ApiResult<std::string>> BotApi::download(std::string path, Deadline deadline) {
  if (!defect_.empty()) co_return std::unexpected(ApiFailure{ApiFailure::Kind::unsent, 0, defect_});
  HttpRequest request;
  request.method = "GET";
  request.target = fmt::format("{}/file/bot{}/{}", root_.target, token_, path);
  auto response = co_await calls_->request(root_.origin, std::move(request), deadline);
  if (!response) co_return std::unexpected(transport_failure(response.error()));
  if (response->status != 200) {
    co_return std::unexpected(ApiFailure{ApiFailure::Kind::refused, response->status,
                                         fmt::format("the file can't be had (HTTP {})", response->status)});
  }
  co_return std::move(response->body);
}

}  // namespace talaria::telegram
