#pragma once
// What an OpenAI-compatible server says: one JSON document, or a stream of server-sent events. Pure parsing; garbage is
// an error, never a crash and never an answer.

#include <optional>
#include <string>
#include <string_view>

#include "agent/agent.h"
#include "net/sse.h"

namespace talaria {

[[nodiscard]] std::string format_completion_request(const AgentRequest& request, const std::string& model, bool stream);

// A whole response body.
[[nodiscard]] Result<AgentReply> parse_completion(std::string_view body);

// Assembles a stream. The answer is complete when a finish_reason or [DONE] was seen; a stream that ends without is cut
// off.
class CompletionStream {
 public:
  // Feeds bytes; new text goes to `sink`. An error is final: garbage, or the provider's own error event.
  Result<> feed(std::string_view bytes, ReplySink& sink);
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] bool shown() const { return !reply_.text.empty(); }
  [[nodiscard]] AgentReply take() { return std::move(reply_); }

 private:
  Result<> take_event(const SseEvent& event, ReplySink& sink);

  SseParser parser_;
  AgentReply reply_;
  bool complete_ = false;
};

// A short, printable piece of what a provider sent, for the log.
[[nodiscard]] std::string excerpt(std::string_view body);

}  // namespace talaria
