#include "agent/openai/completion.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/text.h"

namespace talaria {
namespace json = boost::json;
namespace {

// An answer longer than this is not a chat message any more.
constexpr std::size_t max_answer = 4 * 1024 * 1024;

const json::value* member(const json::value* value, std::string_view name) {
  const json::object* object = value != nullptr ? value->if_object() : nullptr;
  return object != nullptr ? object->if_contains(name) : nullptr;
}

const json::value* first(const json::value* value) {
  const json::array* array = value != nullptr ? value->if_array() : nullptr;
  return array != nullptr && !array->empty() ? &array->front() : nullptr;
}

std::string_view text_of(const json::value* value) {
  const json::string* text = value != nullptr ? value->if_string() : nullptr;
  return text != nullptr ? std::string_view(*text) : std::string_view();
}

int count_of(const json::value* value) {
  const auto* number = value != nullptr ? value->if_int64() : nullptr;
  return number != nullptr && *number >= 0 && *number < 1'000'000'000 ? static_cast<int>(*number) : 0;
}

void take_usage(const json::value* usage, Usage& into) {
  if (usage == nullptr || !usage->is_object()) return;
  into.prompt_tokens = count_of(member(usage, "prompt_tokens"));
  into.completion_tokens = count_of(member(usage, "completion_tokens"));
}

Result<json::value> parse(std::string_view text) {
  boost::system::error_code ec;
  json::value value = json::parse(mend_surrogates(text), ec);
  if (ec) return fail(ErrorKind::invalid, fmt::format("not JSON ({}): {}", ec.message(), excerpt(text)));
  if (const json::value* error = member(&value, "error"); error != nullptr && !error->is_null()) {
    return fail(ErrorKind::unavailable, fmt::format("error from the provider: {}", excerpt(json::serialize(*error))));
  }
  return value;
}

}  // namespace

std::string excerpt(std::string_view body) {
  std::string out;
  for (const char c : body.substr(0, 400)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  if (body.size() > 400) out += " …";
  return out;
}

std::string format_completion_request(const AgentRequest& request, const std::string& model, bool stream) {
  json::array messages;
  for (const ChatMessage& message : request.messages) {
    messages.push_back({{"role", to_string(message.role)}, {"content", message.content}});
  }
  json::object body{{"model", model}, {"messages", std::move(messages)}, {"stream", stream}};
  if (stream) body["stream_options"] = json::object{{"include_usage", true}};
  if (request.temperature) body["temperature"] = *request.temperature;
  if (request.max_tokens) body["max_tokens"] = *request.max_tokens;
  return json::serialize(body);
}

Result<AgentReply> parse_completion(std::string_view body) {
  auto value = parse(body);
  if (!value) return std::unexpected(value.error());
  const json::value* choice = first(member(&*value, "choices"));
  const json::value* content = member(member(choice, "message"), "content");
  if (content == nullptr || !(content->is_string() || content->is_null())) {
    return fail(ErrorKind::invalid, fmt::format("no choices[0].message.content: {}", excerpt(body)));
  }
  AgentReply reply;
  reply.text = text_of(content);
  if (const auto reason = text_of(member(choice, "finish_reason")); !reason.empty()) reply.finish_reason = reason;
  take_usage(member(&*value, "usage"), reply.usage);
  return reply;
}

Result<> CompletionStream::feed(std::string_view bytes, ReplySink& sink) {
  Result<> outcome;
  auto fed = parser_.feed(bytes, [&](const SseEvent& event) {
    outcome = take_event(event, sink);
    return outcome.has_value();
  });
  return fed ? outcome : fed;
}

Result<> CompletionStream::take_event(const SseEvent& event, ReplySink& sink) {
  if (event.data == "[DONE]") {
    complete_ = true;
    return {};
  }
  auto value = parse(event.data);
  if (!value) return std::unexpected(value.error());
  const json::value* choices = member(&*value, "choices");
  if (choices == nullptr || !choices->is_array()) {
    return fail(ErrorKind::invalid, fmt::format("an event without choices: {}", excerpt(event.data)));
  }
  take_usage(member(&*value, "usage"), reply_.usage);
  const json::value* choice = first(choices);
  if (choice == nullptr) return {};
  const std::string_view piece = text_of(member(member(choice, "delta"), "content"));
  if (!piece.empty()) {
    if (reply_.text.size() + piece.size() > max_answer)
      return fail(ErrorKind::limit, "the answer is longer than 4 MiB");
    reply_.text += piece;
    sink.on_text(piece);
  }
  if (const auto reason = text_of(member(choice, "finish_reason")); !reason.empty()) {
    reply_.finish_reason = reason;
    complete_ = true;
  }
  return {};
}

}  // namespace talaria
