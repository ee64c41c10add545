// `talaria send` and `talaria chat`: messages from the command line.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "base/random.h"
#include "base/say.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/terminal_text.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

struct SendOptions {
  std::string to;
  std::string text;
  bool queue = false;
  std::string timeout = "60s";
};

// CHANNEL:CONVERSATION[:THREAD]
Result<json::object> parse_target(const std::string& to) {
  const auto first = to.find(':');
  if (first == std::string::npos || first == 0 || first + 1 == to.size()) {
    return fail(ErrorKind::invalid,
                fmt::format("--to \"{}\" is not CHANNEL:CONVERSATION[:THREAD], for example libera:#talaria", to));
  }
  const auto second = to.find(':', first + 1);
  json::object body{{"channel", to.substr(0, first)}};
  body["conversation"] = to.substr(first + 1, second == std::string::npos ? second : second - first - 1);
  if (second != std::string::npos) body["thread"] = to.substr(second + 1);
  return body;
}

int send(const Context& context, const SendOptions& options) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto body = parse_target(options.to);
  if (!body) return report(body.error());
  std::string text = options.text;
  if (text.empty() || text == "-") text.assign(std::istreambuf_iterator<char>(std::cin), {});
  while (text.ends_with('\n')) text.pop_back();
  if (text.empty())
    return report({ErrorKind::invalid, "there is no text to send; give it as an argument or on standard input"});
  auto timeout = parse_duration(options.timeout);
  if (!timeout) return report(timeout.error());
  (*body)["text"] = text;
  (*body)["wait_ms"] = options.queue ? 0 : timeout->count();
  auto answer = control_call(*paths, "POST", "/control/send", *body, *timeout + Millis{5'000});
  if (!answer) {
    ControlError error = answer.error();
    if (error.maybe_done) error.what += fmt::format("; `{} outbox list` shows what is on its way", talaria_for(*paths));
    return report(error);
  }
  const auto* object = answer->if_object();
  const auto* state = object == nullptr ? nullptr : object->if_contains("state");
  if (!options.queue && state != nullptr && *state == "pending") {
    say("talaria: stored as {} and on its way, without a receipt so far; `{} outbox list` shows it\n",
        json::serialize(answer->at("id")), talaria_for(*paths));
    return static_cast<int>(ExitCode::unclear);
  }
  if (options.queue) fmt::print("queued as {}\n", json::serialize(answer->at("id")));
  return 0;
}

int chat(const Context& context, const std::string& agent, std::string session) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  const bool shows = ::isatty(STDOUT_FILENO) == 1;
  const bool terminal = shows && ::isatty(STDIN_FILENO) == 1;
  if (session.empty()) session = "terminal-" + random_id(8);
  if (terminal) fmt::print("Talking to \"{}\"; end with Ctrl-D.\n", agent);
  std::string line;
  for (;;) {
    if (terminal) {
      fmt::print("{}", colour() ? "\x1b[1myou>\x1b[0m " : "you> ");
      std::fflush(stdout);
    }
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    const json::object body{{"model", agent},
                            {"stream", true},
                            {"user", session},
                            {"messages", json::array{json::object{{"role", "user"}, {"content", line}}}}};
    TerminalText shown;
    auto done = control_chat(*paths, body, std::chrono::hours(1), [&](std::string_view piece) {
      if (shows)
        fmt::print("{}", shown.feed(piece));
      else
        fmt::print("{}", piece);
      std::fflush(stdout);
    });
    fmt::print("{}\n", shown.finish());
    std::fflush(stdout);
    if (std::ferror(stdout) != 0) return static_cast<int>(ExitCode::unplanned);  // nobody takes the answers
    if (done) continue;
    const int code = report(done.error());
    if (!terminal) return code;
  }
  if (terminal) fmt::print("\n");
  return 0;
}

}  // namespace

void add_send(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("send", "Send a message to a conversation");
  command->footer(
      "Waits for the platform's receipt; --queue returns at once. Exit codes: 0 it came, 1 the platform will not take\n"
      "it, 74 it is on its way, or may be (sending it again may repeat it), 75 nothing was sent, try "
      "again.\n\nExample:\n"
      "  talaria send --to 'libera:#talaria' 'The backup is done.'\n  uptime | talaria send --to libera:alice -");
  auto options = std::make_shared<SendOptions>();
  command->add_option("--to", options->to, "CHANNEL:CONVERSATION[:THREAD]")->required();
  command->add_option("text", options->text, "The message; \"-\" or nothing reads standard input");
  command->add_flag("--queue", options->queue, "Return as soon as the message is stored");
  command->add_option("--timeout", options->timeout, "How long to wait for the receipt (default 60s)");
  command->callback([&context, options] { context.exit_code = send(context, *options); });
}

void add_chat(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("chat", "Talk to an agent in the terminal");
  command->footer(
      "Reads a message from each line of standard input.\n\nExample:\n  talaria chat\n  echo 'What time is it?' | "
      "talaria chat --session notes");
  auto agent = std::make_shared<std::string>("default");
  auto session = std::make_shared<std::string>();
  command->add_option("--agent", *agent, "Name of the agent (default: default)");
  command->add_option("--session", *session, "Continue the session of this name (default: a new one)");
  command->callback([&context, agent, session] { context.exit_code = chat(context, *agent, *session); });
}

}  // namespace talaria::cli
