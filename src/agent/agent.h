#pragma once
// An agent turns a conversation into an answer. The gateway runs one call of run() for each turn; what an agent says is
// streamed through ReplySink as it comes and returned whole at the end.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

enum class Role { system, user, assistant };
[[nodiscard]] std::string_view to_string(Role role);
[[nodiscard]] std::optional<Role> parse_role(std::string_view name);

struct ChatMessage {
  Role role = Role::user;
  std::string content;  // UTF-8
};

struct AgentRequest {
  std::vector<ChatMessage> messages;  // oldest first; the last one is what to answer
  std::string session;                // session key; for the agent's environment and logs, never a secret
  std::optional<double> temperature;
  std::optional<int> max_tokens;
  Deadline deadline = Deadline::never();
  std::int64_t turn = 0;  // under which what runs for it may go on in the next program; 0: it ends with this one
};

struct Usage {
  int prompt_tokens = 0;
  int completion_tokens = 0;
};

struct AgentReply {
  std::string text;
  std::string finish_reason = "stop";  // OpenAI's words: stop, length, content_filter
  Usage usage;
};

// Why there is no answer. `detail` may quote the provider and goes to the log only; `summary` is fit for a chat: our
// own words, no addresses, no provider text.
struct AgentError {
  ErrorKind kind = ErrorKind::internal;
  std::string summary;  // "the model did not answer in time"
  std::string detail;
};

class ReplySink {
 public:
  virtual ~ReplySink() = default;
  // The next piece of the answer, in order; never empty. Must not block or throw.
  virtual void on_text(std::string_view piece) = 0;
  // False: nobody reads along, so an agent may fetch the answer whole.
  [[nodiscard]] virtual bool wants_pieces() const { return true; }
};

class Agent {
 public:
  virtual ~Agent() = default;
  [[nodiscard]] virtual std::string_view kind() const = 0;
  // Answers one request before its deadline. Cancelling the coroutine ends whatever was started for it: connection
  // closed, process group gone. Concurrent calls are allowed; all run on the event loop's thread.
  virtual Task<std::expected<AgentReply, AgentError>> run(AgentRequest request, ReplySink& sink) = 0;
};

}  // namespace talaria
