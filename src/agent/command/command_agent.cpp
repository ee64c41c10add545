#include "agent/command/command_agent.h"

#include <fmt/format.h>

#include "agent/command/utf8_cleaner.h"
#include "base/text.h"
#include "process/child.h"

namespace talaria {

namespace {

constexpr std::size_t max_output = 1024 * 1024;
constexpr Millis grace{2'000};

// Turns the program's bytes into the answer, as they come. Line ends at the very end are no part of it: a program's
// last line has one, a chat message has not. They are held back until more text follows.
class Answer {
 public:
  explicit Answer(ReplySink& sink) : sink_(sink) {}
  void add(std::string_view bytes) { pass(cleaner_.push(bytes)); }
  std::string finish() {
    pass(cleaner_.finish());
    return std::move(text_);
  }

 private:
  void pass(const std::string& text) {
    held_ += text;
    const auto end = held_.find_last_not_of("\r\n");
    if (end == std::string::npos) return;
    const std::string piece = held_.substr(0, end + 1);
    held_.erase(0, end + 1);
    text_ += piece;
    sink_.on_text(piece);
  }

  ReplySink& sink_;
  Utf8Cleaner cleaner_;
  std::string held_;
  std::string text_;
};

// In words for the chat; what the program and its path are stays in the log.
AgentError error_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::timeout: return {ErrorKind::timeout, "the command did not answer in time", error.what};
    // `limit` would tell the client that it asks too often.
    case ErrorKind::limit: return {ErrorKind::internal, "the command's answer is too long", error.what};
    case ErrorKind::unavailable:
      return {ErrorKind::unavailable, "the agent's command could not be started", error.what};
    default: return {ErrorKind::internal, "the agent's command could not be started", error.what};
  }
}

std::string end_of(const ChildResult& result) {
  return result.signal != 0 ? fmt::format("killed by signal {}", result.signal)
                            : fmt::format("exit {}", result.exit_code);
}

class CommandAgent final : public Agent {
 public:
  CommandAgent(const AgentConfig& config, std::vector<std::string> hidden, std::shared_ptr<ChildHandover> children)
      : command_(config.command),
        system_(config.system),
        timeout_(config.timeout),
        hidden_(std::move(hidden)),
        children_(std::move(children)) {}

  [[nodiscard]] std::string_view kind() const override { return "command"; }

  Task<std::expected<AgentReply, AgentError>> run(AgentRequest request, ReplySink& sink) override {
    const Deadline deadline = timeout_ ? request.deadline.earlier(Deadline::in(*timeout_)) : request.deadline;
    std::string prompt = request.messages.empty() ? std::string() : std::move(request.messages.back().content);
    Answer answer(sink);
    const auto result =
        co_await run_child(spec_for(request.session), std::move(prompt), max_output, deadline, grace,
                           [&answer](std::string_view bytes) { answer.add(bytes); }, {children_.get(), request.turn});
    if (!result) co_return std::unexpected(error_of(result.error()));
    if (result->exit_code != 0)
      co_return std::unexpected(AgentError{ErrorKind::internal, fmt::format("the command failed ({})", end_of(*result)),
                                           fmt::format("{} failed ({}); its errors end with: {}", command_[0],
                                                       end_of(*result), printable(result->err_tail))});
    AgentReply reply;
    reply.text = answer.finish();
    co_return reply;
  }

 private:
  [[nodiscard]] ChildSpec spec_for(const std::string& session) const {
    ChildSpec spec{
        .command = command_, .environment = {"TALARIA_SESSION=" + session}, .hidden = hidden_, .working_directory = {}};
    if (!system_.empty()) spec.environment.push_back("TALARIA_SYSTEM_PROMPT=" + system_);
    return spec;
  }

  std::vector<std::string> command_;
  std::string system_;
  std::optional<Millis> timeout_;
  std::vector<std::string> hidden_;
  std::shared_ptr<ChildHandover> children_;
};

}  // namespace

std::unique_ptr<Agent> make_command_agent(const AgentConfig& config, std::vector<std::string> hidden_environment,
                                          std::shared_ptr<ChildHandover> children) {
  return std::make_unique<CommandAgent>(config, std::move(hidden_environment), std::move(children));
}

}  // namespace talaria
