#include "agent/openai/openai_agent.h"

#include <fmt/format.h>

#include <charconv>

#include "agent/openai/completion.h"
#include "net/http_client.h"
#include "runtime/backoff.h"
#include "runtime/event.h"

namespace talaria {
namespace {

constexpr int max_attempts = 3;
constexpr std::size_t max_body = 4 * 1024 * 1024;
// A server may ask us to wait; longer than this we rather tell the person.
constexpr Millis longest_wait{30'000};

// One attempt's failure: what to say, and whether trying again is worth it.
struct Failure {
  AgentError error;
  bool try_again = false;
  Millis wait{0};  // the server's wish
};

class OpenAiAgent final : public Agent {
 public:
  OpenAiAgent(const AgentConfig& config, std::string api_key, HttpUrl url, asio::any_io_executor executor)
      : config_(config),
        api_key_(std::move(api_key)),
        url_(std::move(url)),
        client_(executor, {.ca_file = config.ca_file}) {}

  [[nodiscard]] std::string_view kind() const override { return "openai"; }

  // Tries again only while nothing of the answer was shown, so that nobody ever sees two beginnings.
  Task<std::expected<AgentReply, AgentError>> run(AgentRequest request, ReplySink& sink) override {
    Backoff backoff(Millis{500}, Millis{8'000});
    for (int attempt = 1;; ++attempt) {
      bool shown = false;
      auto reply = sink.wants_pieces() ? co_await ask_streaming(request, sink, shown) : co_await ask_whole(request);
      if (reply) co_return std::move(*reply);
      Failure& failure = reply.error();
      const Millis wait = std::max(backoff.next(), failure.wait);
      const bool time_left = Deadline::in(wait).at() < request.deadline.at() && wait <= longest_wait;
      if (shown || !failure.try_again || attempt == max_attempts || !time_left) {
        failure.error.detail += fmt::format(" (attempt {} of {})", attempt, max_attempts);
        co_return std::unexpected(std::move(failure.error));
      }
      co_await sleep_for(wait);
    }
  }

 private:
  [[nodiscard]] HttpRequest make_request(const AgentRequest& request, bool stream) const {
    HttpRequest http;
    http.method = "POST";
    http.target = url_.target;
    http.headers.set("Content-Type", "application/json");
    http.headers.set("Accept", stream ? "text/event-stream" : "application/json");
    if (!api_key_.empty()) http.headers.set("Authorization", "Bearer " + api_key_);
    http.body = format_completion_request(request, config_.model, stream);
    return http;
  }

  Task<std::expected<AgentReply, Failure>> ask_whole(const AgentRequest& request) {
    auto response = co_await client_.request(url_.origin, make_request(request, false), request.deadline);
    if (!response) co_return std::unexpected(transport_failure(response.error()));
    if (response->status != 200) co_return std::unexpected(status_failure(*response, response->body));
    auto reply = parse_completion(response->body);
    if (!reply) co_return std::unexpected(nonsense(reply.error()));
    co_return std::move(*reply);
  }

  Task<std::expected<AgentReply, Failure>> ask_streaming(const AgentRequest& request, ReplySink& sink, bool& shown) {
    // What is not an event stream is collected: an error's body, or the whole answer of a server that can't stream.
    CompletionStream stream;
    Result<> parsed;
    bool streams = false;
    std::string body;
    auto response = co_await client_.stream(
        url_.origin, make_request(request, true), request.deadline,
        [&](const HttpResponse& head) {
          streams = head.status == 200 && head.headers.get("Content-Type").starts_with("text/event-stream");
          return true;
        },
        [&](std::string_view piece) {
          if (!streams) {
            body += piece;
            return body.size() < max_body;
          }
          parsed = stream.feed(piece, sink);
          return parsed.has_value();
        });
    shown = stream.shown();
    if (!parsed) co_return std::unexpected(nonsense(parsed.error()));
    if (streams && stream.complete()) co_return stream.take();
    if (!response) co_return std::unexpected(transport_failure(response.error()));
    if (response->status != 200) co_return std::unexpected(status_failure(*response, body));
    if (streams) {
      co_return std::unexpected(Failure{{ErrorKind::unavailable, "the model broke off in the middle of its answer",
                                         "the stream ended without a finish_reason"},
                                        true});
    }
    auto whole = parse_completion(body);
    if (!whole) co_return std::unexpected(nonsense(whole.error()));
    if (!whole->text.empty()) sink.on_text(whole->text);
    co_return std::move(*whole);
  }

  [[nodiscard]] static Failure nonsense(const Error& error) {
    return {{ErrorKind::internal, "the model's server sent an answer that makes no sense", error.what}, true};
  }

  [[nodiscard]] static Failure transport_failure(const HttpFailure& failure) {
    const ErrorKind kind = failure.error.kind;
    if (kind == ErrorKind::timeout) return {{kind, "the model did not answer in time", failure.error.what}, false};
    if (kind == ErrorKind::limit)
      return {{ErrorKind::internal, "the model's answer was too long", failure.error.what}, false};
    if (kind == ErrorKind::permission) {
      return {{kind, "the model's server could not be trusted (its certificate is not valid)", failure.error.what},
              false};
    }
    if (failure.answered)
      return {{ErrorKind::unavailable, "the model broke off in the middle of its answer", failure.error.what}, true};
    return {{ErrorKind::unavailable, "the model's server could not be reached", failure.error.what}, true};
  }

  [[nodiscard]] static Failure status_failure(const HttpResponse& response, std::string_view body) {
    Failure failure;
    failure.error.detail = fmt::format("HTTP {}: {}", response.status, excerpt(body));
    const std::string_view wish = response.headers.get("Retry-After");
    int seconds = 0;
    std::from_chars(wish.data(), wish.data() + wish.size(), seconds);
    failure.wait = Millis(static_cast<std::int64_t>(std::clamp(seconds, 0, 3600)) * 1000);
    switch (response.status) {
      case 408:
      case 429:
        failure.error.kind = ErrorKind::limit;
        failure.error.summary = "the model's server is too busy at the moment";
        failure.try_again = true;
        break;
      case 401:
      case 403:
        failure.error.kind = ErrorKind::permission;
        failure.error.summary = "the model's server refused our credentials";
        break;
      default:
        failure.error.kind = ErrorKind::internal;
        failure.error.summary =
            response.status >= 500 ? "the model's server has a problem" : "the model's server refused the request";
        failure.try_again = response.status >= 500;
    }
    return failure;
  }

  const AgentConfig config_;
  const std::string api_key_;
  const HttpUrl url_;
  HttpClient client_;
};

}  // namespace

std::unique_ptr<Agent> make_openai_agent(const AgentConfig& config, std::string api_key,
                                         asio::any_io_executor executor) {
  std::string base = config.base_url;
  while (base.ends_with('/')) base.pop_back();
  auto url = parse_http_url(base + "/chat/completions");
  // The configuration's check has parsed the same text.
  return std::make_unique<OpenAiAgent>(config, std::move(api_key), url ? std::move(*url) : HttpUrl{},
                                       std::move(executor));
}

}  // namespace talaria
