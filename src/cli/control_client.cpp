#include "cli/control_client.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/terminal_text.h"
#include "lifecycle/exit_code.h"
#include "net/http_client.h"
#include "net/sse.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

// Runs one coroutine on an event loop of its own.
template <class T>
T run_alone(std::function<Task<T>(asio::any_io_executor)> work) {
  asio::io_context loop(1);
  std::optional<T> result;
  asio::co_spawn(loop, work(loop.get_executor()), [&](std::exception_ptr bug, T value) {
    if (bug) std::rethrow_exception(bug);
    result.emplace(std::move(value));
    loop.stop();
  });
  loop.run();
  return std::move(*result);
}

HttpRequest make_request(std::string method, std::string target, const json::object& body) {
  HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers.set("Host", "localhost");
  if (request.method != "GET") {
    request.headers.set("Content-Type", "application/json");
    request.body = json::serialize(body);
  }
  return request;
}

HttpOrigin origin_of(const ProfilePaths& paths) {
  return {.tls = false, .host = "localhost", .port = 80, .unix_path = paths.control_socket()};
}

// Why there is no answer.
ControlError unanswered(const ProfilePaths& paths, std::string_view method, const HttpFailure& failure) {
  const bool maybe_done = failure.sent && method != "GET";
  const std::string_view why = failure.error.what;
  const std::string_view unclear = maybe_done ? "; what was asked for may have been done" : "";
  switch (failure.error.kind) {
    case ErrorKind::timeout:
      return {{ErrorKind::timeout, fmt::format("the gateway of profile \"{}\" does not answer on {}: {}{}",
                                               paths.profile, paths.control_socket(), why, unclear)},
              maybe_done};
    case ErrorKind::limit:
      return {{ErrorKind::limit, fmt::format("the answer of the gateway of profile \"{}\" is too long: {}{}",
                                             paths.profile, why, unclear)},
              maybe_done};
    case ErrorKind::permission:
      return {{ErrorKind::permission,
               fmt::format("{}: permission denied; ask as the user that runs the gateway, or as root",
                           paths.control_socket())}};
    default: break;
  }
  if (failure.sent) {
    return {{ErrorKind::unavailable,
             fmt::format("the connection to the gateway of profile \"{}\" was lost after the request was sent ({}){}",
                         paths.profile, why, unclear)},
            maybe_done};
  }
  return {{ErrorKind::unavailable,
           fmt::format("the gateway of profile \"{}\" does not run (nobody answers on {}); start it with `{} "
                       "gateway start` or `{} gateway run`",
                       paths.profile, paths.control_socket(), talaria_for(paths), talaria_for(paths))}};
}

// The words of a problem document (RFC 9457) or of an OpenAI error.
std::string words_of(const HttpResponse& response) {
  boost::system::error_code ec;
  const json::value value = json::parse(response.body, ec);
  if (!ec && value.is_object()) {
    const json::object& object = value.get_object();
    if (const auto* detail = object.if_contains("detail"); detail != nullptr && detail->is_string()) {
      return std::string(detail->get_string());
    }
    if (const auto* error = object.if_contains("error"); error != nullptr && error->is_object()) {
      if (const auto* message = error->get_object().if_contains("message");
          message != nullptr && message->is_string()) {
        return std::string(message->get_string());
      }
    }
    if (const auto* title = object.if_contains("title"); title != nullptr && title->is_string()) {
      return std::string(title->get_string());
    }
  }
  return fmt::format("HTTP {}", response.status);
}

Error refused(const HttpResponse& response) {
  ErrorKind kind = ErrorKind::internal;
  switch (response.status) {
    case 400:
    case 422: kind = ErrorKind::invalid; break;
    case 401:
    case 403: kind = ErrorKind::permission; break;
    case 404: kind = ErrorKind::not_found; break;
    case 409: kind = ErrorKind::conflict; break;
    case 429: kind = ErrorKind::limit; break;
    case 503: kind = ErrorKind::unavailable; break;
    case 504: kind = ErrorKind::timeout; break;
    default: break;
  }
  TerminalText shown;
  std::string words = shown.feed(words_of(response));
  return {kind, words += shown.finish()};
}

}  // namespace

std::string talaria_for(const ProfilePaths& paths) {
  const bool system = paths.config_file.starts_with("/etc/talaria/");
  return fmt::format("talaria{}{}", system ? " --system" : "",
                     paths.profile == "default" ? "" : " -p " + paths.profile);
}

int report(const ControlError& error) {
  const int code = report(static_cast<const Error&>(error));
  return error.maybe_done ? static_cast<int>(ExitCode::unclear) : code;
}

ControlResult<json::value> control_call(const ProfilePaths& paths, std::string method, std::string target,
                                        const json::object& body, Millis timeout) {
  using Outcome = std::expected<HttpResponse, HttpFailure>;
  auto response = run_alone<Outcome>([&](asio::any_io_executor executor) -> Task<Outcome> {
    HttpClient client(executor);
    co_return co_await client.request(origin_of(paths), make_request(method, target, body), Deadline::in(timeout));
  });
  if (!response) return std::unexpected(unanswered(paths, method, response.error()));
  if (response->status >= 300) return std::unexpected(ControlError(refused(*response)));
  boost::system::error_code ec;
  json::value value = json::parse(response->body, ec);
  if (ec)
    return std::unexpected(
        ControlError({ErrorKind::internal, fmt::format("the control socket's answer is not JSON: {}", ec.message())}));
  return value;
}

ControlResult<void> control_chat(const ProfilePaths& paths, const json::object& body, Millis timeout,
                                 const std::function<void(std::string_view)>& on_text) {
  using Outcome = std::expected<HttpResponse, HttpFailure>;
  SseParser parser;
  Result<> parsed;
  std::string refusal;
  const auto take = [&](const SseEvent& event) {
    boost::system::error_code ec;
    const json::value value = json::parse(event.data, ec);
    if (ec || !value.is_object()) return true;  // "[DONE]"
    if (value.get_object().contains("error")) {
      HttpResponse error;
      error.body = event.data;
      parsed = fail(ErrorKind::unavailable, printable(words_of(error)));
      return false;
    }
    if (const auto* piece = value.find_pointer("/choices/0/delta/content", ec);
        piece != nullptr && piece->is_string()) {
      on_text(piece->get_string());
    }
    return true;
  };
  auto response = run_alone<Outcome>([&](asio::any_io_executor executor) -> Task<Outcome> {
    HttpClient client(executor);
    bool accepted = false;
    co_return co_await client.stream(
        origin_of(paths), make_request("POST", "/v1/chat/completions", body), Deadline::in(timeout),
        [&](const HttpResponse& head) {
          accepted = head.status == 200;
          return true;
        },
        [&](std::string_view piece) {
          if (!accepted) {
            refusal += piece;
            return refusal.size() < 64 * 1024;
          }
          if (auto fed = parser.feed(piece, take); !fed) parsed = fed;
          return parsed.has_value();
        });
  });
  if (!parsed) return std::unexpected(ControlError(parsed.error()));
  if (!response) return std::unexpected(unanswered(paths, "POST", response.error()));
  if (response->status != 200) {
    response->body = std::move(refusal);
    return std::unexpected(ControlError(refused(*response)));
  }
  return {};
}

}  // namespace talaria::cli
