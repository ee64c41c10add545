#pragma once
// POST /v1/chat/completions and GET /v1/models in the shapes of the OpenAI API reference
// (platform.openai.com/docs/api-reference): `model` names an agent; `user` or the header X-Talaria-Session names a
// session, else the call is stateless.

#include <optional>
#include <string>

#include "gateway/gateway.h"
#include "net/http_server.h"

namespace talaria {

struct ChatCall {
  DirectTurn turn;
  bool stream = false;
  bool include_usage = false;
};
// What a client sent, checked. The error's text names the field.
[[nodiscard]] Result<ChatCall> parse_chat_call(const HttpRequest& request);

// {"error":{"message","type","code","param"}}
[[nodiscard]] HttpResponse openai_error(int status, std::string_view message, std::string_view type,
                                        std::string_view code = {});

[[nodiscard]] HttpResponse list_models(const Gateway& gateway);
Task<> chat_completions(Gateway& gateway, HttpRequest request, HttpExchange& exchange);

}  // namespace talaria
