#include "api/openai_chat.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/random.h"
#include "base/text.h"
#include "net/sse.h"
#include "runtime/race.h"

namespace talaria {
namespace json = boost::json;
namespace {

// A client that lets more than this wait unread is cut off: a piece left out would be a lie in the middle of the
// answer.
constexpr std::size_t max_unread = 8 * 1024 * 1024;

Result<std::string> text_of(const json::value& content) {
  if (const auto* text = content.if_string()) return std::string(*text);
  const auto* parts = content.if_array();
  if (parts == nullptr)
    return fail(ErrorKind::invalid, "messages[].content must be a string or an array of text parts");
  std::string all;
  for (const json::value& item : *parts) {
    const auto* part = item.if_object();
    const json::value* text = part != nullptr ? part->if_contains("text") : nullptr;
    if (text == nullptr || !text->is_string()) {
      return fail(ErrorKind::invalid, "messages[].content: only parts of type \"text\" are understood here");
    }
    all += std::string_view(text->get_string());
  }
  return all;
}

Result<std::vector<ChatMessage>> messages_of(const json::object& body) {
  const json::value* value = body.if_contains("messages");
  if (value == nullptr || !value->is_array() || value->get_array().empty()) {
    return fail(ErrorKind::invalid, "\"messages\" must be an array with at least one message");
  }
  std::vector<ChatMessage> messages;
  for (const json::value& item : value->get_array()) {
    const auto* object = item.if_object();
    const json::value* role = object != nullptr ? object->if_contains("role") : nullptr;
    const json::value* content = object != nullptr ? object->if_contains("content") : nullptr;
    if (role == nullptr || !role->is_string() || content == nullptr) {
      return fail(ErrorKind::invalid, "every message needs a \"role\" and a \"content\"");
    }
    const std::string_view name = role->get_string();
    const auto known = name == "developer" ? std::optional(Role::system) : parse_role(name);
    if (!known)
      return fail(ErrorKind::invalid,
                  fmt::format("messages[].role \"{}\" is not one of system, developer, user, assistant", name));
    auto text = text_of(*content);
    if (!text) return std::unexpected(text.error());
    messages.push_back({*known, std::move(*text)});
  }
  return messages;
}

std::string chunk(std::string_view id, std::int64_t created, std::string_view model, json::value delta,
                  std::optional<std::string_view> finish) {
  json::object choice{{"index", 0}, {"delta", std::move(delta)}, {"finish_reason", nullptr}};
  if (finish) choice["finish_reason"] = *finish;
  return format_sse(json::serialize(json::object{{"id", id},
                                                 {"object", "chat.completion.chunk"},
                                                 {"created", created},
                                                 {"model", model},
                                                 {"choices", json::array{std::move(choice)}}}));
}

json::object usage_of(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

struct StatusAndType {
  int status;
  std::string_view type, code;
};
StatusAndType classify(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid: return {422, "invalid_request_error", "idempotency_key_reused"};
    case ErrorKind::not_found: return {404, "invalid_request_error", "model_not_found"};
    case ErrorKind::limit: return {429, "rate_limit_error", "busy"};
    case ErrorKind::unavailable: return {503, "server_error", "unavailable"};
    case ErrorKind::timeout: return {504, "server_error", "agent_timeout"};
    default: return {502, "server_error", "agent_failed"};
  }
}

std::string words_of(const DirectFailure& failure) {
  return failure.reference.empty() ? failure.message
                                   : fmt::format("{} (reference {})", failure.message, failure.reference);
}

HttpResponse response_of(const DirectFailure& failure) {
  const auto [status, type, code] = classify(failure.kind);
  HttpResponse response = openai_error(status, words_of(failure), type, code);
  if (failure.kind == ErrorKind::unavailable || failure.kind == ErrorKind::limit)
    response.headers.set("Retry-After", "1");
  return response;
}

HttpResponse response_of(const DirectAnswer& answer, std::string_view model, std::int64_t created) {
  HttpResponse response;
  response.headers.set("Content-Type", "application/json");
  if (answer.replayed) response.headers.set("Idempotency-Replayed", "true");
  response.body = json::serialize(json::object{
      {"id", fmt::format("chatcmpl-{}", answer.turn)},
      {"object", "chat.completion"},
      {"created", created},
      {"model", model},
      {"choices", json::array{json::object{{"index", 0},
                                           {"message", {{"role", "assistant"}, {"content", answer.reply.text}}},
                                           {"finish_reason", answer.reply.finish_reason}}}},
      {"usage", usage_of(answer.reply.usage)}});
  return response;
}

std::int64_t now_seconds() { return SystemWallClock().now() / 1000; }

// Nobody reads along.
class Silent final : public ReplySink {
 public:
  void on_text(std::string_view) override {}
  [[nodiscard]] bool wants_pieces() const override { return false; }
};

// Collects what the agent says until the connection's coroutine writes it out.
class Buffer final : public ReplySink {
 public:
  explicit Buffer(asio::any_io_executor executor) : wake(std::move(executor)) {}
  void on_text(std::string_view piece) override {
    if (text.size() + piece.size() > max_unread) {
      gone = true;
    } else {
      text += piece;
    }
    wake.set();
  }
  std::string text;
  Event wake;  // text, outcome or gone
  std::optional<std::expected<DirectAnswer, DirectFailure>> outcome;
  bool gone = false;
};

DirectFailure stop_failure() {
  return {ErrorKind::unavailable, "the gateway is shutting down; try again in a moment", {}};
}

// Until a stop cuts off the turns that run. One with a key is told by the gateway how to come by its answer.
Task<> until_cut_off(Gateway& gateway, bool keyed) {
  if (keyed) co_await sleep_until(Deadline::never());
  (void)co_await gateway.cut_off().wait();
}

Task<> whole(Gateway& gateway, ChatCall call, HttpExchange& exchange) {
  const std::string model = call.turn.agent;
  const bool keyed = !call.turn.idempotency_key.empty();
  Silent silent;
  std::optional<std::expected<DirectAnswer, DirectFailure>> result;
  bool answered = false;
  const auto run = [&]() -> Task<> { result.emplace(co_await gateway.run_direct(std::move(call.turn), silent)); };
  const auto leave = [&]() -> Task<> { (void)co_await exchange.client_gone().wait(); };
  const auto cut = [&]() -> Task<> {
    co_await until_cut_off(gateway, keyed);
    answered = true;
    co_await exchange.send(response_of(stop_failure()));
  };
  // Whichever ends first cancels the others: a client that leaves takes its turn along, and one that is told that we
  // end does not wait for its agent's end.
  co_await race(run(), leave(), cut());
  if (!result || answered) co_return;
  co_await exchange.send(*result ? response_of(**result, model, now_seconds()) : response_of(result->error()));
}

Task<> run_into(Gateway& gateway, DirectTurn turn, std::shared_ptr<Buffer> buffer) {
  auto result = co_await gateway.run_direct(std::move(turn), *buffer);
  if (!buffer->outcome) buffer->outcome.emplace(std::move(result));
  buffer->wake.set();
}

Task<> watch_end(Gateway& gateway, bool keyed, std::shared_ptr<Buffer> buffer) {
  co_await until_cut_off(gateway, keyed);
  if (!buffer->outcome) buffer->outcome.emplace(std::unexpected(stop_failure()));
  buffer->wake.set();
}

Task<> watch(HttpExchange& exchange, std::shared_ptr<Buffer> buffer) {
  co_await exchange.client_gone().wait();
  buffer->gone = true;
  buffer->wake.set();
}

Task<> stream(Gateway& gateway, ChatCall call, HttpExchange& exchange) {
  const auto executor = co_await asio::this_coro::executor;
  const std::string model = call.turn.agent;
  const std::int64_t created = now_seconds();
  const std::string id = "chatcmpl-" + random_id(16);  // the turn's number is not known before its first words
  auto buffer = std::make_shared<Buffer>(executor);
  TaskGroup tasks(executor);
  tasks.spawn("end", watch_end(gateway, !call.turn.idempotency_key.empty(), buffer));
  tasks.spawn("turn", run_into(gateway, std::move(call.turn), buffer));
  tasks.spawn("watch", watch(exchange, buffer));

  // The status line waits for the first words, so that a failure before them is an HTTP error and not a broken stream.
  bool begun = false;
  bool alive = true;
  std::size_t streamed = 0;
  while (alive && !buffer->gone) {
    co_await buffer->wake.wait();
    buffer->wake.reset();
    const bool ended = buffer->outcome.has_value();
    if (buffer->gone || (ended && !*buffer->outcome && !begun)) break;
    if (!begun && (ended || !buffer->text.empty())) {
      HttpResponse head;
      head.headers.set("Content-Type", "text/event-stream");
      head.headers.set("Cache-Control", "no-cache");
      if (ended && *buffer->outcome && (*buffer->outcome)->replayed) head.headers.set("Idempotency-Replayed", "true");
      alive = co_await exchange.begin(std::move(head));
      begun = true;
      const std::string role = chunk(id, created, model, {{"role", "assistant"}, {"content", ""}}, std::nullopt);
      alive = alive && co_await exchange.write(role);
    }
    std::string text = std::exchange(buffer->text, {});
    if (ended && *buffer->outcome && streamed == 0 && text.empty()) text = (*buffer->outcome)->reply.text;  // replayed
    streamed += text.size();
    if (alive && !text.empty()) {
      const std::string piece = chunk(id, created, model, {{"content", text}}, std::nullopt);
      alive = co_await exchange.write(piece);
    }
    if (ended) break;
  }
  if (alive && !buffer->gone && buffer->outcome) {
    const auto& outcome = *buffer->outcome;
    if (!outcome && !begun) {
      co_await exchange.send(response_of(outcome.error()));
    } else if (!outcome) {
      const auto [status, type, code] = classify(outcome.error().kind);
      const std::string error = format_sse(openai_error(status, words_of(outcome.error()), type, code).body);
      if (co_await exchange.write(error)) co_await exchange.end();
    } else {
      std::string tail = chunk(id, created, model, json::object{}, outcome->reply.finish_reason);
      if (call.include_usage) {
        tail += format_sse(json::serialize(json::object{{"id", id},
                                                        {"object", "chat.completion.chunk"},
                                                        {"created", created},
                                                        {"model", model},
                                                        {"choices", json::array{}},
                                                        {"usage", usage_of(outcome->reply.usage)}}));
      }
      tail += format_sse("[DONE]");
      if (co_await exchange.write(tail)) co_await exchange.end();
    }
  }
  co_await tasks.stop();
}

}  // namespace

Result<ChatCall> parse_chat_call(const HttpRequest& request) {
  boost::system::error_code ec;
  json::parse_options options;
  options.max_depth = 16;
  const json::value value = json::parse(mend_surrogates(request.body), ec, {}, options);
  if (ec) return fail(ErrorKind::invalid, fmt::format("the body is not JSON: {}", ec.message()));
  const auto* body = value.if_object();
  if (body == nullptr) return fail(ErrorKind::invalid, "the body must be a JSON object");
  const auto absent = [&](const char* name) {
    const json::value* v = body->if_contains(name);
    return v == nullptr || v->is_null();
  };
  ChatCall call;
  const json::value* model = body->if_contains("model");
  if (model == nullptr || !model->is_string())
    return fail(ErrorKind::invalid, "\"model\" must name an agent; GET /v1/models lists them");
  call.turn.agent = std::string(model->get_string());
  auto messages = messages_of(*body);
  if (!messages) return std::unexpected(messages.error());
  call.turn.messages = std::move(*messages);
  for (const char* name : {"tools", "functions"}) {
    if (!absent(name) && !(body->at(name).is_array() && body->at(name).get_array().empty())) {
      return fail(ErrorKind::invalid, fmt::format("\"{}\" is not supported: an agent brings its own", name));
    }
  }
  if (!absent("n") && body->at("n") != json::value(1)) return fail(ErrorKind::invalid, "\"n\" must be 1");
  if (!absent("stream")) {
    if (!body->at("stream").is_bool()) return fail(ErrorKind::invalid, "\"stream\" must be true or false");
    call.stream = body->at("stream").get_bool();
  }
  if (!absent("stream_options")) {
    const auto* wanted = body->at("stream_options").if_object();
    const json::value* usage = wanted != nullptr ? wanted->if_contains("include_usage") : nullptr;
    call.include_usage = usage != nullptr && usage->is_bool() && usage->get_bool();
  }
  if (!absent("temperature")) {
    if (!body->at("temperature").is_number()) return fail(ErrorKind::invalid, "\"temperature\" must be a number");
    call.turn.temperature = body->at("temperature").to_number<double>();
    if (!(*call.turn.temperature >= 0 && *call.turn.temperature <= 2))
      return fail(ErrorKind::invalid, "\"temperature\" must be from 0 to 2");
  }
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    if (absent(name)) continue;
    const auto* n = body->at(name).if_int64();
    if (n == nullptr || *n < 1 || *n > 100'000'000)
      return fail(ErrorKind::invalid, fmt::format("\"{}\" must be a whole number from 1", name));
    call.turn.max_tokens = static_cast<int>(*n);
  }
  if (!absent("user")) {
    if (!body->at("user").is_string()) return fail(ErrorKind::invalid, "\"user\" must be a string");
    call.turn.session = std::string(body->at("user").get_string());
  }
  if (const auto session = request.headers.get("X-Talaria-Session"); !session.empty()) call.turn.session = session;
  if (call.turn.session.size() > 4096) return fail(ErrorKind::invalid, "the session's name is longer than 4096 bytes");
  call.turn.idempotency_key = request.headers.get("Idempotency-Key");
  if (call.turn.idempotency_key.size() > 255)
    return fail(ErrorKind::invalid, "Idempotency-Key is longer than 255 bytes");
  return call;
}

HttpResponse openai_error(int status, std::string_view message, std::string_view type, std::string_view code) {
  HttpResponse response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  json::object error{{"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}};
  if (!code.empty()) error["code"] = code;
  response.body = json::serialize(json::object{{"error", std::move(error)}});
  return response;
}

HttpResponse list_models(const Gateway& gateway) {
  json::array data;
  for (const std::string& name : gateway.agent_names()) {
    data.push_back({{"id", name}, {"object", "model"}, {"created", 0}, {"owned_by", "talaria"}});
  }
  HttpResponse response;
  response.headers.set("Content-Type", "application/json");
  response.body = json::serialize(json::object{{"object", "list"}, {"data", std::move(data)}});
  return response;
}

Task<> chat_completions(Gateway& gateway, HttpRequest request, HttpExchange& exchange) {
  auto call = parse_chat_call(request);
  if (!call) {
    co_await exchange.send(openai_error(400, call.error().what, "invalid_request_error", "invalid_request"));
    co_return;
  }
  if (call->stream) {
    co_await stream(gateway, std::move(*call), exchange);
  } else {
    co_await whole(gateway, std::move(*call), exchange);
  }
}

}  // namespace talaria
