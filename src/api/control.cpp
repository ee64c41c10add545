#include "api/control.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>

#include "lifecycle/run_json.h"
#include "store/outbox.h"
#include "store/runs.h"
#include "store/sessions.h"

namespace talaria {
namespace json = boost::json;
namespace {

std::string text_field(const json::object& body, const char* name) {
  const json::value* value = body.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t integer_field(const json::object& body, const char* name, std::int64_t otherwise) {
  const json::value* value = body.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : otherwise;
}

// A parameter of the query, percent-decoded.
std::string query_field(const HttpRequest& request, std::string_view name) {
  const auto url = boost::urls::parse_origin_form(request.target);
  if (!url) return {};
  const auto params = url->params();
  const auto found = params.find(name);
  return found != params.end() ? std::string((*found).value) : std::string();
}

int query_number(const HttpRequest& request, std::string_view name, int otherwise, int most) {
  const std::string text = query_field(request, name);
  int value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::clamp(value, 1, most);
}

HttpResponse refuse(const Error& error) {
  int status = 500;
  switch (error.kind) {
    case ErrorKind::invalid: status = 400; break;
    case ErrorKind::permission: status = 403; break;
    case ErrorKind::not_found: status = 404; break;
    case ErrorKind::conflict: status = 409; break;
    case ErrorKind::limit: status = 429; break;
    case ErrorKind::unavailable: status = 503; break;
    case ErrorKind::timeout: status = 504; break;
    default: break;
  }
  return problem(status, to_string(error.kind), error.what);
}

HttpResponse done(Result<> result) {
  return result ? json_response(json::object{{"ok", true}}) : refuse(result.error());
}

// It begins now; the connection may be gone before it is over.
HttpResponse accepted(Result<> result) {
  return result ? json_response(json::object{{"ok", true}}, 202) : refuse(result.error());
}

json::array to_json(const std::vector<OutboxRow>& rows) {
  json::array array;
  for (const OutboxRow& row : rows) {
    array.push_back({{"id", row.id},
                     {"channel", row.route.channel},
                     {"conversation", row.route.conversation},
                     {"thread", row.route.thread},
                     {"state", row.state},
                     {"attempts", row.attempts},
                     {"error", row.error},
                     {"created_at", format_rfc3339(row.created_at)},
                     {"text", row.body}});
  }
  return array;
}

}  // namespace

Task<> ControlRouter::handle(HttpRequest request, HttpExchange& exchange) {
  if (request.peer_uid != 0 && request.peer_uid != static_cast<int>(::geteuid())) {
    co_await exchange.send(problem(403, "Forbidden", "only this user and root may use the control socket"));
    co_return;
  }
  if (request.path().starts_with("/v1/") && gateway_ != nullptr) {
    co_await route_v1(*gateway_, std::move(request), exchange);
    co_return;
  }
  HttpResponse response = co_await answer(std::move(request));
  co_await exchange.send(std::move(response));
}

Task<HttpResponse> ControlRouter::answer(HttpRequest request) {
  const std::string path(request.path());
  if (request.method == "GET" && path == "/control/status") co_return json_response(view_.status());

  json::object body;
  if (request.method == "POST") {
    boost::system::error_code ec;
    json::value value = json::parse(request.body.empty() ? "{}" : request.body, ec);
    if (ec || !value.is_object()) co_return problem(400, "Bad Request", "the body must be a JSON object");
    body = std::move(value.get_object());
    const std::string by = body.contains("by") ? text_field(body, "by") : fmt::format("PID {}", request.peer_pid);
    if (path == "/control/announce") co_return done(actions_.announce(text_field(body, "target"), by));
    if (path == "/control/stop") {
      const Incarnation who = actions_.stop(by);
      co_return json_response(json::object{{"ok", true}, {"incarnation", to_string(who)}}, 202);
    }
    if (path == "/control/restart") co_return accepted(actions_.restart(by));
    if (path == "/control/start") {
      actions_.start(by);
      co_return json_response(json::object{{"ok", true}, {"state", view_.state()}});
    }
    if (path == "/control/upgrade") co_return json_response(co_await actions_.upgrade(text_field(body, "program"), by));
    if (path == "/control/reload") co_return co_await actions_.reload(by);
    if (path == "/control/check-restart") co_return actions_.check_restart();
    if (path == "/control/leave") co_return accepted(actions_.leave(text_field(body, "target"), by));
  }
  if (gateway_ == nullptr || store_ == nullptr) {
    co_return problem(503, "starting", fmt::format("the gateway is {}", view_.state()));
  }
  if (request.method == "POST") {
    if (path == "/control/send") co_return co_await send(std::move(body));
    if (path == "/control/outbox/retry") co_return done(co_await gateway_->retry_dead(integer_field(body, "id", 0)));
    if (path == "/control/outbox/discard")
      co_return done(co_await gateway_->discard_dead(integer_field(body, "id", 0)));
    if (path == "/control/session/reset") {
      co_return done(
          co_await store_->write([key = text_field(body, "key")](Database& db) { return reset_session(db, key); }));
    }
  }
  if (request.method == "GET") co_return co_await answer_store(path, std::move(request));
  co_return problem(404, "Not Found", path);
}

Task<HttpResponse> ControlRouter::answer_store(std::string path, HttpRequest request) {
  if (path == "/control/outbox") {
    auto rows =
        co_await store_->read([state = query_field(request, "state"), n = query_number(request, "n", 100, 10'000)](
                                  Database& db) { return list_outbox(db, state, n); });
    if (!rows) co_return refuse(rows.error());
    co_return json_response(json::object{{"outbox", to_json(*rows)}});
  }
  if (path == "/control/sessions") {
    auto rows = co_await store_->read(
        [n = query_number(request, "n", 100, 10'000)](Database& db) { return list_sessions(db, n); });
    if (!rows) co_return refuse(rows.error());
    json::array array;
    for (const SessionRow& row : *rows) {
      array.push_back({{"key", row.key},
                       {"agent", row.agent},
                       {"turns", row.turns},
                       {"created_at", format_rfc3339(row.created_at)},
                       {"last_at", format_rfc3339(row.last_at)}});
    }
    co_return json_response(json::object{{"sessions", std::move(array)}});
  }
  if (path == "/control/session") {
    auto turns = co_await store_->read([key = query_field(request, "key"), n = query_number(request, "n", 100, 10'000)](
                                           Database& db) { return session_turns(db, key, n); });
    if (!turns) co_return refuse(turns.error());
    json::array array;
    for (const SessionTurn& turn : *turns) {
      array.push_back({{"id", turn.id},
                       {"state", turn.state},
                       {"queued_at", format_rfc3339(turn.queued_at)},
                       {"prompt", turn.prompt},
                       {"answer", turn.answer}});
    }
    co_return json_response(json::object{{"turns", std::move(array)}});
  }
  if (path == "/control/history") {
    auto runs =
        co_await store_->read([n = query_number(request, "n", 20, 10'000)](Database& db) { return list_runs(db, n); });
    if (!runs) co_return refuse(runs.error());
    json::array array;
    for (const RunRow& run : *runs) array.push_back(to_json(run));
    co_return json_response(json::object{{"runs", std::move(array)}});
  }
  co_return problem(404, "Not Found", path);
}

Task<HttpResponse> ControlRouter::send(json::object body) {
  Route route{text_field(body, "channel"), text_field(body, "conversation"), text_field(body, "thread"), ""};
  const std::string text = text_field(body, "text");
  if (route.conversation.empty() || text.empty()) {
    co_return problem(400, "Bad Request", "\"channel\", \"conversation\" and \"text\" are needed");
  }
  auto id = co_await gateway_->send(std::move(route), text);
  if (!id) co_return refuse(id.error());
  const std::int64_t wait = std::clamp<std::int64_t>(integer_field(body, "wait_ms", 0), 0, 3'600'000);
  if (wait == 0) co_return json_response(json::object{{"id", *id}, {"state", "pending"}}, 202);
  auto delivered = co_await gateway_->wait_delivered(*id, Deadline::in(Millis(wait)));
  // It is stored, and goes out whether or not somebody waits for that.
  if (!delivered && delivered.error().kind == ErrorKind::timeout)
    co_return json_response(json::object{{"id", *id}, {"state", "pending"}}, 202);
  if (!delivered)
    co_return problem(502, "dead",
                      fmt::format("{}; it is kept as {}, and `talaria outbox retry {}` tries again",
                                  delivered.error().what, *id, *id));
  co_return json_response(json::object{{"id", *id}, {"state", "sent"}});
}

}  // namespace talaria
