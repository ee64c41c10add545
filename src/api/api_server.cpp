#include "api/api_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "api/metrics.h"
#include "api/openai_chat.h"
#include "base/text.h"
#include "runtime/log.h"

namespace talaria {
namespace json = boost::json;
namespace {

// Looks at every byte of `asked`, whatever differs.
bool same(std::string_view asked, std::string_view key) {
  if (key.empty()) return false;
  unsigned int different = asked.size() == key.size() ? 0 : 1;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    different |= static_cast<unsigned char>(asked[i]) ^ static_cast<unsigned char>(key[i % key.size()]);
  }
  return different == 0;
}

std::string_view bearer(const HttpRequest& request) {
  const std::string_view value = request.headers.get("Authorization");
  constexpr std::string_view scheme = "bearer ";
  if (value.size() < scheme.size()) return {};
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    const char c = value[i] >= 'A' && value[i] <= 'Z' ? static_cast<char>(value[i] + 32) : value[i];
    if (c != scheme[i]) return {};
  }
  return value.substr(scheme.size());
}

// The name in a Host field or an origin, without port and brackets.
std::string_view host_name(std::string_view value) {
  if (const auto scheme = value.find("://"); scheme != value.npos) value.remove_prefix(scheme + 3);
  if (value.starts_with('[')) return value.substr(1, value.find(']') - 1);
  return value.substr(0, value.find(':'));
}

bool is_loopback_name(std::string_view name) {
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  const std::string address(name);
  in_addr v4{};
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == IN_LOOPBACKNET;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

// A page of the web must not reach a loopback API through the person's browser, neither directly (Origin) nor by a name
// that its owner points at 127.0.0.1 (Host).
bool from_a_foreign_page(const HttpRequest& request, bool loopback_only) {
  const std::string_view host = request.headers.get("Host");
  if (loopback_only && !host.empty() && !is_loopback_name(host_name(host))) return true;
  const std::string_view origin = request.headers.get("Origin");
  return !origin.empty() && host_name(origin) != host_name(host);
}

constexpr std::string_view hooks = "/hooks/";
constexpr Millis refusal_line_every{10'000};

HookRequest hook_request(HttpRequest request) {
  HookRequest hook;
  for (const auto& [name, value] : request.headers.all()) {
    std::string lower(name);
    for (char& c : lower) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    hook.headers.emplace_back(std::move(lower), value);
  }
  hook.body = std::move(request.body);
  hook.peer = std::move(request.peer);
  return hook;
}

HttpResponse http_response(const HookResponse& answer) {
  HttpResponse response;
  response.status = answer.status;
  if (answer.status >= 400) response = problem(answer.status, answer.title.empty() ? "refused" : answer.title);
  if (answer.retry_after > 0) response.headers.set("Retry-After", fmt::format("{}", answer.retry_after));
  return response;
}

}  // namespace

bool KeyRing::accepts(std::string_view key) const {
  bool found = false;
  for (const std::string& known : keys_) found |= same(key, known);
  return found;
}

HttpResponse json_response(const json::value& value, int status) {
  HttpResponse response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.body = json::serialize(value);
  return response;
}

HttpResponse problem(int status, std::string_view title, std::string_view detail) {
  json::object body{{"title", title}, {"status", status}};
  if (!detail.empty()) body["detail"] = detail;
  HttpResponse response = json_response(body, status);
  response.headers.set("Content-Type", "application/problem+json");
  return response;
}

Task<> ApiRouter::handle(HttpRequest request, HttpExchange& exchange) {
  const std::string_view path = request.path();
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (path.starts_with(hooks)) {
    co_await handle_hook(std::move(request), exchange);
  } else if (from_a_foreign_page(request, loopback_only_)) {
    co_await exchange.send(problem(403, "Forbidden", "Host or Origin is not this machine's"));
  } else if (path.starts_with("/v1/")) {
    co_await handle_v1(std::move(request), exchange);
  } else if (path == "/healthz" || path == "/readyz" || path == "/metrics") {
    if (!reads) {
      HttpResponse response = problem(405, "Method Not Allowed");
      response.headers.set("Allow", "GET, HEAD");
      co_await exchange.send(std::move(response));
    } else if (path == "/healthz") {
      co_await exchange.send(json_response(json::object{{"state", view_.state()}}));
    } else if (path == "/readyz") {
      co_await exchange.send(readiness(view_, gateway_));
    } else {
      co_await exchange.send(metrics(view_, gateway_));
    }
  } else {
    co_await exchange.send(problem(404, "Not Found"));
  }
}

// A hook proves itself by its signature or token, which no page of the web can make; so neither the API's keys nor the
// Host, which is the name of the proxy before us, say anything about it.
Task<> ApiRouter::handle_hook(HttpRequest request, HttpExchange& exchange) {
  if (request.method != "POST") {
    HttpResponse response = problem(405, "Method Not Allowed", "a hook takes POST alone");
    response.headers.set("Allow", "POST");
    co_await exchange.send(std::move(response));
    co_return;
  }
  if (gateway_ == nullptr || gateway_->draining()) {
    HttpResponse response = problem(503, "Service Unavailable", "the gateway is starting or ending; send it again");
    response.headers.set("Retry-After", "5");
    co_await exchange.send(std::move(response));
    co_return;
  }
  const std::string name(request.path().substr(hooks.size()));
  const auto endpoint = gateway_->hook(name);
  if (!endpoint) {
    co_await exchange.send(problem(404, "Not Found", "no channel of this name takes hooks"));
    co_return;
  }
  const HookResponse answer = co_await endpoint->handle(hook_request(std::move(request)));
  if (answer.status >= 400) log_refusal(name, answer);
  co_await exchange.send(http_response(answer));
}

// One line in a while: whoever has no secret must not be able to fill the log.
void ApiRouter::log_refusal(std::string_view name, const HookResponse& answer) {
  ++refusals_;
  const auto now = SteadyClock::now();
  if (now < next_refusal_line_) return;
  next_refusal_line_ = now + refusal_line_every;
  log::warning("hook of {}: answered {} {}{}", name, answer.status, answer.title,
               refusals_ > 1 ? fmt::format(" ({} refused since the last line)", refusals_) : "");
  refusals_ = 0;
}

Task<> ApiRouter::handle_v1(HttpRequest request, HttpExchange& exchange) {
  if (keys_.empty()) {
    co_await exchange.send(openai_error(401, "This API has no key configured, so it refuses everybody; set api.keys",
                                        "invalid_request_error", "no_key_configured"));
    co_return;
  }
  if (!keys_.accepts(bearer(request))) {
    HttpResponse response = openai_error(401, "Missing or wrong API key; send \"Authorization: Bearer KEY\"",
                                         "invalid_request_error", "invalid_api_key");
    response.headers.set("WWW-Authenticate", "Bearer");
    co_await exchange.send(std::move(response));
    co_return;
  }
  if (gateway_ == nullptr) {
    HttpResponse response = openai_error(503, "The gateway is starting", "server_error", "starting");
    response.headers.set("Retry-After", "1");
    co_await exchange.send(std::move(response));
    co_return;
  }
  co_await route_v1(*gateway_, std::move(request), exchange);
}

Task<> route_v1(Gateway& gateway, HttpRequest request, HttpExchange& exchange) {
  const std::string_view path = request.path();
  const auto wrong_method = [&](const char* allow) {
    HttpResponse response = openai_error(405, fmt::format("{} is not allowed here; use {}", request.method, allow),
                                         "invalid_request_error", "method_not_allowed");
    response.headers.set("Allow", allow);
    return response;
  };
  if (path == "/v1/chat/completions") {
    if (request.method == "POST") {
      co_await chat_completions(gateway, std::move(request), exchange);
    } else {
      co_await exchange.send(wrong_method("POST"));
    }
  } else if (path == "/v1/models") {
    co_await exchange.send(request.method == "GET" ? list_models(gateway) : wrong_method("GET"));
  } else if (path.starts_with("/v1/models/")) {
    const auto names = gateway.agent_names();
    const std::string name(path.substr(std::string_view("/v1/models/").size()));
    if (std::ranges::find(names, name) == names.end()) {
      co_await exchange.send(
          openai_error(404, fmt::format("there is no agent \"{}\"", name), "invalid_request_error", "model_not_found"));
    } else {
      co_await exchange.send(
          json_response(json::object{{"id", name}, {"object", "model"}, {"created", 0}, {"owned_by", "talaria"}}));
    }
  } else {
    co_await exchange.send(
        openai_error(404, fmt::format("there is no {}", path), "invalid_request_error", "not_found"));
  }
}

}  // namespace talaria
