#include "api/api_server.h"

#include <fmt/format.h>

#include "api/metrics.h"
#include "api/openai_chat.h"
#include "base/text.h"

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
  return name == "localhost" || name == "::1" || name.starts_with("127.") || name.ends_with(".localhost");
}

// A page of the web must not reach a loopback API through the person's browser, neither directly (Origin) nor by a name
// that its owner points at 127.0.0.1 (Host).
bool from_a_foreign_page(const HttpRequest& request, bool loopback_only) {
  const std::string_view host = request.headers.get("Host");
  if (loopback_only && !host.empty() && !is_loopback_name(host_name(host))) return true;
  const std::string_view origin = request.headers.get("Origin");
  return !origin.empty() && host_name(origin) != host_name(host);
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
  if (from_a_foreign_page(request, loopback_only_)) {
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
