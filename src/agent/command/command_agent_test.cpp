#include "agent/command/command_agent.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <optional>

#include "agent/echo/echo_agent.h"
#include "runtime/event.h"
#include "runtime/task_group.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class Recorder final : public ReplySink {
 public:
  void on_text(std::string_view piece) override {
    EXPECT_FALSE(piece.empty());
    pieces.emplace_back(piece);
    if (on_piece) on_piece();
  }
  [[nodiscard]] std::string joined() const {
    std::string all;
    for (const auto& piece : pieces) all += piece;
    return all;
  }
  std::vector<std::string> pieces;
  std::function<void()> on_piece;
};

using Outcome = std::expected<AgentReply, AgentError>;

Outcome run(Agent& agent, AgentRequest request, ReplySink& sink) {
  asio::io_context loop;
  std::optional<Outcome> outcome;
  asio::co_spawn(loop, agent.run(std::move(request), sink), [&](const std::exception_ptr& e, Outcome result) {
    EXPECT_FALSE(e);
    outcome = std::move(result);
  });
  loop.run();
  return outcome.value();
}

AgentConfig shell(const std::string& script) {
  AgentConfig config;
  config.kind = "command";
  config.command = {"/bin/sh", "-c", script};
  return config;
}

AgentRequest ask(std::string text) {
  AgentRequest request;
  request.messages = {
      {Role::user, "an earlier question"}, {Role::assistant, "its answer"}, {Role::user, std::move(text)}};
  request.session = "irc/libera/#talaria";
  request.deadline = Deadline::in(30s);
  return request;
}

Outcome answer_of(const AgentConfig& config, const std::string& text = "hello") {
  Recorder sink;
  auto outcome = run(*make_command_agent(config, {}), ask(text), sink);
  if (outcome) EXPECT_EQ(sink.joined(), outcome->text);
  return outcome;
}

TEST(CommandAgent, TheLastMessageGoesInTheOutputIsTheAnswer) {
  auto config = shell("");
  config.command = {"/usr/bin/tr", "a-z", "A-Z"};
  const auto outcome = answer_of(config, "hello\nworld");
  ASSERT_TRUE(outcome) << outcome.error().detail;
  EXPECT_EQ(outcome->text, "HELLO\nWORLD");
  EXPECT_EQ(outcome->finish_reason, "stop");
}

TEST(CommandAgent, LineEndsAtTheEndAreNoPartOfTheAnswer) {
  EXPECT_EQ(answer_of(shell("printf 'a\\n\\nb\\r\\n\\n'"))->text, "a\n\nb");
  EXPECT_EQ(answer_of(shell("printf 'a\\n'; sleep 0.05; printf 'b\\n'; sleep 0.05; printf '\\n'"))->text, "a\nb");
  EXPECT_EQ(answer_of(shell("printf '\\n\\n'"))->text, "");
  EXPECT_EQ(answer_of(shell("true"))->text, "");
}

TEST(CommandAgent, PiecesAreCutBetweenCodePoints) {
  Recorder sink;
  // A program that is faster than its pauses only makes fewer pieces.
  const auto outcome =
      run(*make_command_agent(shell("printf 'x\\342\\202'; sleep 0.05; printf '\\254y'"), {}), ask(""), sink);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->text, "x€y");
  EXPECT_EQ(sink.joined(), "x€y");
  for (const auto& piece : sink.pieces) EXPECT_TRUE(piece == "x" || piece == "€y" || piece == "x€y") << piece;
}

TEST(CommandAgent, BytesThatAreNoUtf8AreReplaced) {
  EXPECT_EQ(answer_of(shell("printf 'a\\377b\\000c\\342\\202'"))->text,
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD"
            "c\xEF\xBF\xBD");
}

TEST(CommandAgent, TheEnvironmentTellsTheSessionAndHidesSecrets) {
  ::setenv("TALARIA_TEST_KEY", "sk-secret", 1);
  auto config = shell("echo \"$TALARIA_SESSION|$TALARIA_SYSTEM_PROMPT|${TALARIA_TEST_KEY-unset}\"");
  config.system = "Be brief.";
  Recorder sink;
  const auto outcome = run(*make_command_agent(config, {"TALARIA_TEST_KEY"}), ask(""), sink);
  ::unsetenv("TALARIA_TEST_KEY");
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->text, "irc/libera/#talaria|Be brief.|unset");
}

TEST(CommandAgent, AFailureIsShortInTheChatAndWholeInTheLog) {
  auto outcome = answer_of(shell("echo half an answer; echo 'secret path /srv/x' >&2; exit 3"));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::internal);
  EXPECT_EQ(outcome.error().summary, "the command failed (exit 3)");
  EXPECT_THAT(outcome.error().detail, HasSubstr("secret path /srv/x"));
  outcome = answer_of(shell("kill -9 $$"));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().summary, "the command failed (killed by signal 9)");
}

TEST(CommandAgent, ACommandThatCantBeStarted) {
  auto config = shell("");
  for (const auto& command : {std::vector<std::string>{"/no/such/program"}, {"/etc/passwd"}, {}}) {
    config.command = command;
    const auto outcome = answer_of(config);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().kind, ErrorKind::internal);
    EXPECT_EQ(outcome.error().summary, "the agent's command could not be started");
    if (!command.empty()) EXPECT_THAT(outcome.error().detail, HasSubstr(command[0]));
    EXPECT_THAT(outcome.error().summary, Not(HasSubstr("/")));
  }
}

TEST(CommandAgent, ItsOwnTimeoutAndTheRequestsDeadline) {
  auto config = shell("sleep 1000");
  config.timeout = 100ms;
  auto outcome = answer_of(config);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::timeout);

  config.timeout = std::nullopt;
  Recorder sink;
  auto request = ask("");
  request.deadline = Deadline::in(100ms);
  outcome = run(*make_command_agent(config, {}), std::move(request), sink);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::timeout);
  EXPECT_EQ(outcome.error().summary, "the command did not answer in time");
}

TEST(CommandAgent, AnEndlessAnswerIsAnError) {
  Recorder sink;
  const auto outcome = run(*make_command_agent(shell("yes"), {}), ask(""), sink);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::internal);
  EXPECT_EQ(outcome.error().summary, "the command's answer is too long");
  EXPECT_LE(sink.joined().size(), 1024U * 1024U);
}

TEST(CommandAgent, ALargeQuestionThatNobodyReads) {
  const auto outcome = answer_of(shell("echo done"), std::string(1024 * 1024, 'q'));
  ASSERT_TRUE(outcome) << outcome.error().detail;
  EXPECT_EQ(outcome->text, "done");
}

TEST(CommandAgent, ManyTurnsAtOnceAndOneOfThemCancelled) {
  asio::io_context loop;
  const auto agent =
      make_command_agent(shell("echo got; cat; [ \"$(echo $TALARIA_SESSION)\" = stays ] && exec sleep 1000; true"), {});
  Recorder sinks[8];
  int answered = 0;
  TaskGroup tasks(loop.get_executor(), [](auto, auto what) { ADD_FAILURE() << what; });
  const auto turn = [&](int number) -> Task<> {
    auto request = ask(std::to_string(number));
    if (number == 0) request.session = "stays";
    const auto outcome = co_await agent->run(std::move(request), sinks[number]);
    if (outcome && outcome->text == "got\n" + std::to_string(number)) ++answered;
  };
  const auto stays = tasks.spawn("turn", turn(0));
  for (int number = 1; number < 8; ++number) tasks.spawn("turn", turn(number));
  const auto rest = [&]() -> Task<> {
    while (tasks.size() > 1 || sinks[0].pieces.empty()) co_await sleep_for(1ms);
    stays.cancel();
    EXPECT_TRUE(co_await tasks.join(Deadline::in(10s)));
  };
  asio::co_spawn(loop, rest(), [](const std::exception_ptr& e) { EXPECT_FALSE(e); });
  loop.run();
  EXPECT_EQ(answered, 7);
  EXPECT_TRUE(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD) << "a process was left";
}

TEST(EchoAgent, SaysTheLastMessageInAFewPieces) {
  Recorder sink;
  const auto agent = make_echo_agent();
  auto outcome = run(*agent, ask("to be or not to be"), sink);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->text, "to be or not to be");
  EXPECT_EQ(sink.joined(), outcome->text);
  EXPECT_GT(sink.pieces.size(), 1U);

  Recorder blanks;
  outcome = run(*agent, ask(std::string(1024 * 1024, ' ')), blanks);
  EXPECT_EQ(blanks.joined(), outcome->text);
  EXPECT_LE(blanks.pieces.size(), 33U);

  Recorder nothing;
  outcome = run(*agent, {}, nothing);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->text, "");
  EXPECT_TRUE(nothing.pieces.empty());
}

TEST(Roles, NamesAndBack) {
  for (const Role role : {Role::system, Role::user, Role::assistant}) EXPECT_EQ(parse_role(to_string(role)), role);
  for (const char* name : {"", "User", "tool", "user "}) EXPECT_EQ(parse_role(name), std::nullopt);
}

}  // namespace
}  // namespace talaria
