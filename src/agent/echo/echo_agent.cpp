#include "agent/echo/echo_agent.h"

namespace talaria {
namespace {

constexpr std::size_t most_pieces = 32;

class EchoAgent final : public Agent {
 public:
  [[nodiscard]] std::string_view kind() const override { return "echo"; }

  Task<std::expected<AgentReply, AgentError>> run(AgentRequest request, ReplySink& sink) override {
    AgentReply reply;
    if (!request.messages.empty()) reply.text = std::move(request.messages.back().content);
    // Word by word, so that whoever streams sees it stream; a long text in larger pieces, so that there are never many.
    const std::size_t least = reply.text.size() / most_pieces;
    for (std::size_t at = 0; at < reply.text.size();) {
      const auto blank = reply.text.find(' ', at + least);
      const auto end = blank == std::string::npos ? reply.text.size() : blank + 1;
      sink.on_text(std::string_view(reply.text).substr(at, end - at));
      at = end;
    }
    co_return reply;
  }
};

}  // namespace

std::unique_ptr<Agent> make_echo_agent() { return std::make_unique<EchoAgent>(); }

}  // namespace talaria
