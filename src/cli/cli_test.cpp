// Whole command lines, as main() passes them on.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "cli/command.h"
#include "config/environment_test_support.h"

namespace talaria::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

class CommandLine : public testing::Test {
 protected:
  CommandLine() {
    std::string pattern = std::filesystem::temp_directory_path() / "talaria-cli-XXXXXX";
    home_ = ::mkdtemp(pattern.data());
    environment_.set("TALARIA_HOME", home_.string());
    environment_.set("TALARIA_PROFILE", std::nullopt);
  }
  ~CommandLine() override { std::filesystem::remove_all(home_); }

  static Ran talaria(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "talaria");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Ran ran;
    ran.code = run(static_cast<int>(arguments.size()), argv.data());
    ran.out = testing::internal::GetCapturedStdout();
    ran.err = testing::internal::GetCapturedStderr();
    return ran;
  }
  std::string config_file() const { return home_ / "config.toml"; }
  void write_config(std::string_view text) const { std::ofstream(config_file()) << text; }

  std::filesystem::path home_;
  EnvironmentGuard environment_;
};

TEST_F(CommandLine, WrongOnesExit64AndSayWhatIsRight) {
  struct Wrong {
    std::vector<std::string> arguments;
    const char* message;
  };
  for (const Wrong& wrong : std::initializer_list<Wrong>{
           {{}, "Usage: talaria"},
           {{"config"}, "Usage: talaria config"},
           {{"confg"}, "did you mean \"talaria config\"?"},
           {{"config", "get"}, "KEY is required"},
           {{"config", "check", "--jsno"}, "unknown option --jsno; did you mean --json?"},
           {{"config", "check", "--profil=x"}, "unknown option --profil; did you mean --profile?"},
           {{"config", "check", "config"}, "unexpected argument \"config\""},
           {{"config", "get", "a", "b"}, "unexpected argument \"b\""},
           {{"-p", "Not Good", "config", "check"}, "can't name a profile"},
           {{"config", "check", "-p"}, "--profile"},
           {{"completion", "tcsh"}, "tcsh not in {bash,zsh,fish}"},
           {{"config", "get", "gateway.drain_timout"}, "did you mean gateway.drain_timeout?"},
       }) {
    const Ran ran = talaria(wrong.arguments);
    EXPECT_EQ(ran.code, 64) << wrong.message;
    EXPECT_THAT(ran.err, HasSubstr(wrong.message));
    EXPECT_THAT(ran.out, IsEmpty());
  }
}

TEST_F(CommandLine, HelpIsForStdout) {
  const Ran root = talaria({"--help"});
  EXPECT_EQ(root.code, 0);
  EXPECT_THAT(root.out, HasSubstr("config"));
  const Ran leaf = talaria({"config", "get", "--help"});
  EXPECT_EQ(leaf.code, 0) << "help is given although KEY is missing";
  EXPECT_THAT(leaf.out, HasSubstr("Usage: talaria config get [OPTIONS] KEY"));
  EXPECT_THAT(leaf.err, IsEmpty());
}

TEST_F(CommandLine, ProfileAndScopeMayStandAnywhere) {
  environment_.set("TALARIA_HOME", std::nullopt);
  for (const std::vector<std::string>& arguments : std::initializer_list<std::vector<std::string>>{
           {"-p", "work", "--system", "config", "path"},
           {"config", "-p", "work", "path", "--system"},
           {"config", "path", "--system", "--profile=work"},
           {"config", "--system", "path", "-p", "other", "-p", "work"},
       }) {
    EXPECT_EQ(talaria(arguments).out, "/etc/talaria/work/config.toml\n");
  }
  environment_.set("TALARIA_PROFILE", "home");
  EXPECT_EQ(talaria({"config", "path", "--system"}).out, "/etc/talaria/home/config.toml\n");
  EXPECT_EQ(talaria({"config", "path", "--system", "-p", "work"}).out, "/etc/talaria/work/config.toml\n");
  environment_.set("TALARIA_PROFILE", "no good");
  EXPECT_EQ(talaria({"version"}).code, 64);
}

TEST_F(CommandLine, TheRemedyNamesTheSameGateway) {
  EXPECT_THAT(talaria({"sessions", "list"}).err, HasSubstr("start it with `talaria gateway start` or"));
  EXPECT_THAT(talaria({"-p", "work", "outbox", "list"}).err,
              HasSubstr("`talaria -p work gateway start` or `talaria -p work gateway run`"));
  environment_.set("TALARIA_HOME", std::nullopt);
  EXPECT_THAT(talaria({"--system", "-p", "no-such", "outbox", "list"}).err,
              HasSubstr("`talaria --system -p no-such gateway start`"));
}

TEST_F(CommandLine, AWordThatNamesACommandMayBeAValue) {
  EXPECT_THAT(talaria({"config", "get", "version"}).err, HasSubstr("there is no key version"));
  EXPECT_THAT(talaria({"config", "explain", "gateway"}).out, HasSubstr("gateway.drain_timeout"));
  EXPECT_THAT(talaria({"config", "explain", "version"}).err, HasSubstr("there is no key version"));
  EXPECT_THAT(talaria({"config", "explain", "check"}).err, HasSubstr("there is no key check"));
}

TEST_F(CommandLine, ConfigCheckListsEveryMistake) {
  write_config("[gatway]\n[agent.default]\nkind = \"ech\"\n");
  const Ran ran = talaria({"config", "check"});
  EXPECT_EQ(ran.code, 78);
  EXPECT_EQ(ran.err, config_file() + ":1:2: gatway: unknown table; did you mean gateway?\n" + config_file() +
                         ":3:8: agent.default.kind: unknown kind \"ech\"; did you mean \"echo\"?\n");
  EXPECT_THAT(ran.out, IsEmpty());

  const Ran json = talaria({"config", "check", "--json"});
  EXPECT_EQ(json.code, 78);
  const auto document = boost::json::parse(json.out).as_object();
  EXPECT_FALSE(document.at("ok").as_bool());
  EXPECT_EQ(document.at("file").as_string(), config_file());
  const auto& second = document.at("diagnostics").as_array().at(1).as_object();
  EXPECT_EQ(second.at("line").as_int64(), 3);
  EXPECT_EQ(second.at("column").as_int64(), 8);
  EXPECT_EQ(second.at("key").as_string(), "agent.default.kind");
}

TEST_F(CommandLine, ConfigCheckOfAGoodAndOfNoFile) {
  const Ran absent = talaria({"config", "check"});
  EXPECT_EQ(absent.code, 78);
  EXPECT_THAT(absent.err, HasSubstr("create " + config_file()));
  write_config("[agent.default]\nkind = \"echo\"\n");
  const Ran good = talaria({"config", "check"});
  EXPECT_EQ(good.code, 0);
  EXPECT_EQ(good.out, config_file() + ": ok\n");
}

TEST_F(CommandLine, ConfigGetPrintsTheValueInForce) {
  write_config(
      "[agent.default]\nkind = \"command\"\ncommand = [\"/bin/cat\", \"-u\"]\n[api]\nkeys = [\"env:A_KEY\"]\n");
  environment_.set("A_KEY", "hunter2");
  EXPECT_EQ(talaria({"config", "get", "gateway.drain_timeout"}).out, "30s\n");
  EXPECT_EQ(talaria({"config", "get", "agent.default.command"}).out, "/bin/cat\n-u\n");
  EXPECT_EQ(talaria({"config", "get", "api.keys"}).out, "env:A_KEY\n");
  EXPECT_EQ(talaria({"config", "get", "api.listen"}).out, "");
  const Ran ghost = talaria({"config", "get", "agent.ghost.kind"});
  EXPECT_EQ(ghost.code, 1);
  EXPECT_THAT(ghost.err, HasSubstr("no agent is named \"ghost\"; there is default"));

  const auto set = boost::json::parse(talaria({"config", "get", "agent.default.command", "--json"}).out).as_object();
  EXPECT_EQ(set.at("value"), boost::json::value({"/bin/cat", "-u"}));
  EXPECT_EQ(set.at("line").as_int64(), 3);
  const auto unset = boost::json::parse(talaria({"config", "get", "gateway.history_turns", "--json"}).out).as_object();
  EXPECT_EQ(unset.at("value").as_int64(), 20);
  EXPECT_EQ(unset.at("origin").as_string(), "default");
}

TEST_F(CommandLine, ConfigGetOfAWrongFileIsRefused) {
  write_config("[agent.default]\nkind = \"ech\"\n");
  EXPECT_EQ(talaria({"config", "get", "gateway.drain_timeout"}).code, 78);
}

TEST_F(CommandLine, ConfigExplainSaysWhereAValueComesFrom) {
  write_config(
      "[agent.default]\nkind = \"echo\"\ntimeout = \"5s\"\n[agent.b]\nkind = \"echo\"\n[api]\nkeys = [\"env:A_KEY\", "
      "\"env:NOT_THERE\"]\n");
  environment_.set("A_KEY", "hunter2");
  environment_.set("NOT_THERE", std::nullopt);
  const std::string every = talaria({"config", "explain", "agent.NAME.timeout"}).out;
  EXPECT_THAT(every, HasSubstr("agent.default.timeout = \"5s\"   (" + config_file() + ":3)"));
  EXPECT_THAT(every, HasSubstr("agent.b.timeout is not set: gateway.turn_timeout"));
  EXPECT_THAT(talaria({"config", "explain", "agent.b.timeout"}).out, Not(HasSubstr("agent.default")));
  EXPECT_THAT(talaria({"config", "explain", "gateway.turn_timeout"}).out,
              HasSubstr("gateway.turn_timeout = \"10m\"   (default)"));
  const std::string keys = talaria({"config", "explain", "api.keys"}).out;
  EXPECT_THAT(keys, HasSubstr("env:A_KEY can be read from here"));
  EXPECT_THAT(keys, HasSubstr("NOT_THERE is not set"));
  EXPECT_THAT(keys, Not(HasSubstr("hunter2")));
}

TEST_F(CommandLine, ConfigExplainHelpsWithAWrongFileToo) {
  write_config("[gatway]\n");
  const Ran ran = talaria({"config", "explain", "gateway.drain_timeout"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("How long a stop waits"));
  EXPECT_THAT(ran.out, HasSubstr("has mistakes"));
}

TEST_F(CommandLine, VersionAsJsonIsOneDocument) {
  const auto document = boost::json::parse(talaria({"version", "--json"}).out).as_object();
  EXPECT_EQ(document.at("name").as_string(), "talaria");
  EXPECT_EQ(talaria({"--version"}).out, talaria({"version"}).out);
}

[[noreturn]] void run_into_a_full_disk(std::vector<std::string> arguments) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ::dup2(full, STDOUT_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  std::_Exit(run(static_cast<int>(argv.size()), argv.data()));
}

TEST_F(CommandLine, AFullDiskIsNoSuccess) {
  EXPECT_EXIT(run_into_a_full_disk({"talaria", "version"}), testing::ExitedWithCode(1), "No space left");
  EXPECT_EXIT(run_into_a_full_disk({"talaria", "config", "explain"}), testing::ExitedWithCode(1), "No space left")
      << "more than a buffer";
}

// What bash itself would offer after the given words.
class BashCompletion : public CommandLine {
 protected:
  std::vector<std::string> offers(const std::string& words) {
    const std::string script = home_ / "completion.bash";
    std::ofstream(script) << talaria({"completion", "bash"}).out;
    const std::string command =
        "bash -c '. " + script + "; COMP_WORDS=(" + words +
        "); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _talaria; printf \"%s\\n\" \"${COMPREPLY[@]}\"'";
    std::FILE* pipe = ::popen(command.c_str(), "re");
    std::vector<std::string> lines;
    char* line = nullptr;
    std::size_t size = 0;
    for (ssize_t got = 0; (got = ::getline(&line, &size, pipe)) > 0;)
      lines.emplace_back(line, static_cast<std::size_t>(got) - 1);
    std::free(line);
    EXPECT_EQ(::pclose(pipe), 0);
    return lines;
  }
};

TEST_F(BashCompletion, FollowsTheTree) {
  EXPECT_THAT(offers("talaria conf"), ElementsAre("config"));
  EXPECT_THAT(offers("talaria config ex"), ElementsAre("explain"));
  EXPECT_THAT(offers("talaria -p work config -x ex"), ElementsAre("explain"));
  EXPECT_THAT(offers("talaria config check --js"), ElementsAre("--json"));
  EXPECT_THAT(offers("talaria config get gateway.drain_timeout --pro"), ElementsAre("--profile"));
  EXPECT_THAT(offers("talaria completion z"), ElementsAre("zsh"));
  EXPECT_THAT(offers("talaria nonsense config ex"), ElementsAre("")) << "nothing is known below what is unknown";
}

TEST_F(CommandLine, CompletionCoversEveryShell) {
  EXPECT_THAT(talaria({"completion", "zsh"}).out, StartsWith("#compdef talaria\n"));
  EXPECT_THAT(talaria({"completion", "fish"}).out,
              HasSubstr("complete -c talaria -n '__talaria_at config' -a 'explain'"));
}

}  // namespace
}  // namespace talaria::cli
