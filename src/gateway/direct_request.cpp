#include "gateway/direct_request.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/sha256.h"

namespace talaria {
namespace json = boost::json;

namespace {

json::object object_of(const DirectTurn& turn) {
  json::array messages;
  for (const ChatMessage& message : turn.messages) {
    messages.push_back({{"role", to_string(message.role)}, {"content", message.content}});
  }
  json::object object{{"messages", std::move(messages)}};
  if (turn.temperature) object["temperature"] = *turn.temperature;
  if (turn.max_tokens) object["max_tokens"] = *turn.max_tokens;
  return object;
}

}  // namespace

std::string format_direct_request(const DirectTurn& turn) { return json::serialize(object_of(turn)); }

std::optional<DirectTurn> parse_direct_request(std::string_view text) {
  boost::system::error_code ec;
  const json::value value = json::parse(text, ec);
  const json::object* object = ec ? nullptr : value.if_object();
  const json::value* messages = object != nullptr ? object->if_contains("messages") : nullptr;
  if (messages == nullptr || !messages->is_array()) return std::nullopt;
  DirectTurn turn;
  for (const json::value& item : messages->get_array()) {
    const json::object* message = item.if_object();
    if (message == nullptr) return std::nullopt;
    const json::value* role = message->if_contains("role");
    const json::value* content = message->if_contains("content");
    if (role == nullptr || !role->is_string() || content == nullptr || !content->is_string()) return std::nullopt;
    const auto known = parse_role(std::string_view(role->get_string()));
    if (!known) return std::nullopt;
    turn.messages.push_back({*known, std::string(content->get_string())});
  }
  if (const auto* t = object->if_contains("temperature"); t != nullptr && t->is_number())
    turn.temperature = t->to_number<double>();
  if (const auto* m = object->if_contains("max_tokens"); m != nullptr && m->is_int64())
    turn.max_tokens = static_cast<int>(m->get_int64());
  return turn;
}

std::string digest_direct_request(const DirectTurn& turn) {
  json::object object = object_of(turn);
  object["agent"] = turn.agent;
  object["session"] = turn.session;
  return to_hex(sha256(json::serialize(object)));
}

}  // namespace talaria
