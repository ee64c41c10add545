#include "config/loading.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace talaria {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> mistakes(std::string_view text) {
  std::vector<std::string> out;
  for (const Diagnostic& diagnostic : load_config_text(text, "f").diagnostics) out.push_back(to_string(diagnostic));
  return out;
}

Config load_good(std::string_view text) {
  LoadOutcome outcome = load_config_text(text, "f");
  for (const Diagnostic& diagnostic : outcome.diagnostics) ADD_FAILURE() << to_string(diagnostic);
  return std::move(outcome.config);
}

constexpr std::string_view echo = "[agent.default]\nkind = \"echo\"\n";

TEST(Loading, EveryKeyReachesItsPlace) {
  const Config config = load_good(R"(
[gateway]
drain_timeout = "1m30s"
max_backlog_age = "2h"
turn_timeout = "500ms"
max_concurrent_turns = 3
max_queued_turns = 44
history_turns = 0
[store]
url = "sqlite:"
retention = "7d"
[api]
listen = "[::1]:0"
keys = ["env:KEY_1", "file:/k", "cred:api"]
max_connections = 5
max_body = 2048
allow_public = true
[agent.default]
kind = "openai"
base_url = "https://llm.example:8443/v1"
model = "m"
api_key = "env:K"
system = """two
lines"""
timeout = "9s"
ca_file = "/ca.pem"
[agent.upper]
kind = "command"
command = ["/usr/bin/tr", "a-z", "A-Z"]
[channel.net]
kind = "irc"
agent = "upper"
allow = ["account:alice", "*"]
server = "irc.example:7000"
tls = false
nick = "bot"
user = "u"
realname = "R n"
join = ["#a", "#b"]
sasl_account = "acc"
sasl_password = "file:/p"
server_password = "cred:s"
ca_file = "/i.pem"
lines_per_second = 2
burst = 9
)");
  EXPECT_EQ(config.gateway.drain_timeout, seconds(90));
  EXPECT_EQ(config.gateway.max_backlog_age, hours(2));
  EXPECT_EQ(config.gateway.turn_timeout, milliseconds(500));
  EXPECT_EQ(config.gateway.max_concurrent_turns, 3);
  EXPECT_EQ(config.gateway.max_queued_turns, 44);
  EXPECT_EQ(config.gateway.history_turns, 0);
  EXPECT_EQ(config.store.url, "sqlite:");
  EXPECT_EQ(config.store.retention, hours(7 * 24));
  EXPECT_EQ(config.api.listen, "[::1]:0");
  EXPECT_THAT(config.api.keys,
              ElementsAre(SecretRef{SecretRef::Source::environment, "KEY_1"}, SecretRef{SecretRef::Source::file, "/k"},
                          SecretRef{SecretRef::Source::credential, "api"}));
  EXPECT_EQ(config.api.max_connections, 5);
  EXPECT_EQ(config.api.max_body, 2048);
  EXPECT_TRUE(config.api.allow_public);

  ASSERT_EQ(config.agents.size(), 2U);
  const AgentConfig& agent = config.agents.at("default");
  EXPECT_EQ(agent.name, "default");
  EXPECT_EQ(agent.kind, "openai");
  EXPECT_EQ(agent.base_url, "https://llm.example:8443/v1");
  EXPECT_EQ(agent.model, "m");
  EXPECT_EQ(agent.api_key, (SecretRef{SecretRef::Source::environment, "K"}));
  EXPECT_EQ(agent.system, "two\nlines");
  EXPECT_EQ(agent.timeout, seconds(9));
  EXPECT_EQ(agent.ca_file, "/ca.pem");
  EXPECT_THAT(config.agents.at("upper").command, ElementsAre("/usr/bin/tr", "a-z", "A-Z"));

  const ChannelConfig& channel = config.channels.at("net");
  EXPECT_EQ(channel.name, "net");
  EXPECT_EQ(channel.kind, "irc");
  EXPECT_EQ(channel.agent, "upper");
  EXPECT_THAT(channel.allow, ElementsAre("account:alice", "*"));
  EXPECT_EQ(channel.irc.host, "irc.example");
  EXPECT_EQ(channel.irc.port, 7000);
  EXPECT_FALSE(channel.irc.tls);
  EXPECT_EQ(channel.irc.nick, "bot");
  EXPECT_EQ(channel.irc.user, "u");
  EXPECT_EQ(channel.irc.realname, "R n");
  EXPECT_THAT(channel.irc.join, ElementsAre("#a", "#b"));
  EXPECT_EQ(channel.irc.sasl_account, "acc");
  EXPECT_EQ(channel.irc.sasl_password, (SecretRef{SecretRef::Source::file, "/p"}));
  EXPECT_EQ(channel.irc.server_password, (SecretRef{SecretRef::Source::credential, "s"}));
  EXPECT_EQ(channel.ca_file, "/i.pem");
  EXPECT_DOUBLE_EQ(channel.irc.lines_per_second, 2.0);
  EXPECT_EQ(channel.irc.burst, 9);
}

TEST(Loading, IrcDefaultsFollowFromOtherKeys) {
  const std::string base = std::string(echo) + "[channel.a]\nkind=\"irc\"\nnick=\"bot\"\n";
  const IrcConfig tls = load_good(base + "server=\"irc.example\"").channels.at("a").irc;
  EXPECT_EQ(tls.port, 6697);
  EXPECT_EQ(tls.user, "bot");
  EXPECT_EQ(tls.realname, "Talaria");
  EXPECT_EQ(load_good(base + "server=\"irc.example\"\ntls=false").channels.at("a").irc.port, 6667);
  const IrcConfig six = load_good(base + "server=\"[2001:db8::1]:6697\"").channels.at("a").irc;
  EXPECT_EQ(six.host, "2001:db8::1");
}

TEST(Loading, AllMistakesAtOnceInTheOrderOfTheFile) {
  EXPECT_THAT(
      mistakes(R"([gatway]
x = 1
[gateway]
drain_timout = "30s"
max_concurrent_turns = 0
[channel.net]
kind = "irc"
server = "irc.example:99999"
nick = "9bot"
agent = "defalt"
[agent.default]
kind = "opnai"
[agent.two]
kind = "command"
model = "m"
)"),
      ElementsAre(
          "f:1:2: gatway: unknown table; did you mean gateway?",
          "f:4:1: gateway.drain_timout: unknown key; did you mean drain_timeout?",
          "f:5:24: gateway.max_concurrent_turns: out of range: it must be 1 to 10000",
          StartsWith("f:8:10: channel.net.server: \"irc.example:99999\" must have a port from 1 to 65535; write"),
          StartsWith("f:9:8: channel.net.nick: \"9bot\" can't be a nick: "),
          "f:10:9: channel.net.agent: there is no [agent.defalt]; did you mean \"default\"?",
          "f:12:8: agent.default.kind: unknown kind \"opnai\"; did you mean \"openai\"?",
          "f:13:8: agent.two.command: is missing from [agent.two]; add for example command = "
          "[\"/usr/bin/tr\", \"a-z\", \"A-Z\"]",
          "f:15:1: agent.two.model: a key of kind openai; this is of kind command, which has no use for "
          "it: remove it"));
}

TEST(Loading, NoAgentSaysHowToGetOne) {
  const auto found = mistakes("[api]\nlisten = \"127.0.0.1:1\"\n");
  EXPECT_THAT(found,
              ElementsAre(StartsWith("f: agent: no agent is configured, so nobody would answer: add [agent.default]")));
  EXPECT_THAT(mistakes(""), ElementsAre(HasSubstr("no agent is configured")));
}

TEST(Loading, SyntaxErrorsKeepTheirPosition) {
  EXPECT_THAT(mistakes("[agent.default]\nkind = \n"), ElementsAre(StartsWith("f:2:")));
  EXPECT_THAT(mistakes("a = 1\na = 2\n"), ElementsAre(HasSubstr("cannot redefine")));
  EXPECT_THAT(mistakes("\xFF = 1"), ElementsAre(StartsWith("f:1:")));
}

TEST(Loading, WhatIsNeededIsAskedFor) {
  EXPECT_THAT(mistakes("[agent.default]\nkind = \"openai\"\n"),
              ElementsAre(StartsWith("f:1:8: agent.default.base_url: is missing"),
                          StartsWith("f:1:8: agent.default.model: is missing")));
  EXPECT_THAT(mistakes("[agent.default]\nmodel = \"m\"\n"),
              ElementsAre(StartsWith("f:1:8: agent.default.kind: is missing")));
  EXPECT_THAT(
      mistakes(std::string(echo) + "[channel.c]\nkind = \"irc\"\nserver = \"h\"\nnick = \"n\"\nsasl_account = \"a\"\n"),
      ElementsAre(StartsWith("f:7:16: channel.c.sasl_account: needs sasl_password")));
  EXPECT_THAT(mistakes(std::string(echo) +
                       "[channel.c]\nkind = \"irc\"\nserver = \"h\"\nnick = \"n\"\nsasl_password = \"env:P\"\n"),
              ElementsAre(StartsWith("f:7:17: channel.c.sasl_password: needs sasl_account")));
  EXPECT_THAT(
      mistakes("[agent.other]\nkind = \"echo\"\n[channel.c]\nkind = \"irc\"\nserver = \"h\"\nnick = \"n\"\n"),
      ElementsAre(
          "f:3:10: channel.c.agent: is not given, and there is no [agent.default] that would answer; there is other"));
}

struct BadValue {
  const char* line;
  const char* expected;  // after "f:LINE:COLUMN: "
};

TEST(Loading, BadValuesOfTheApi) {
  for (const BadValue& bad : std::initializer_list<BadValue>{
           {"listen = \"8790\"", "api.listen: \"8790\" has no port"},
           {"listen = \"127.0.0.1:http\"", "api.listen: the port of"},
           {"listen = \"127.0.0.1:65536\"", "api.listen: the port of"},
           {"listen = \"example.org:80\"", "api.listen: the host of"},
           {"listen = \"[::1:80\"", "api.listen: \"[::1:80\" has no port"},
           {"listen = \"::1:80\"", "api.listen: the port of"},
           {"listen = \"unix:run/x\"", "api.listen: after unix: an absolute path"},
           {"listen = \"0.0.0.0:80\"", "api.listen: 0.0.0.0:80 can be reached from other machines"},
           {"listen = \"[::]:80\"", "api.listen: [::]:80 can be reached from other machines"},
           {"listen = \"192.0.2.1:80\"", "api.listen: 192.0.2.1:80 can be reached from other machines"},
           {"listen = 8790",
            "api.listen: must be a string, but this is an integer; write for example listen = \"127.0.0.1:8790\""},
           {"max_body = 1.5", "api.max_body: must be an integer, but this is a number with a fraction"},
           {"max_connections = -1", "api.max_connections: out of range: it must be 1 to 65536"},
           {"allow_public = \"yes\"", "api.allow_public: must be true or false, without quotes, but this is a string"},
           {"drain_timeout = \"1s\"", "api.drain_timeout: unknown key; drain_timeout belongs under [gateway]"},
       }) {
    EXPECT_THAT(mistakes(std::string(echo) + "[api]\n" + bad.line),
                ElementsAre(HasSubstr(std::string(": ") + bad.expected)))
        << bad.line;
  }
}

TEST(Loading, LocalAddressesNeedNoPermission) {
  for (const char* address : {"127.0.0.1:0", "127.8.8.8:80", "localhost:80", "[::1]:80", "unix:/run/x.sock"}) {
    EXPECT_THAT(mistakes(std::string(echo) + "[api]\nlisten = \"" + address + "\""), IsEmpty()) << address;
  }
  EXPECT_THAT(mistakes(std::string(echo) + "[api]\nlisten = \"0.0.0.0:80\"\nallow_public = true"), IsEmpty());
  const std::string longest = "unix:/" + std::string(106, 'x');  // sockaddr_un has room for 107 bytes and a NUL
  EXPECT_THAT(mistakes(std::string(echo) + "[api]\nlisten = \"" + longest + "\""), IsEmpty());
  EXPECT_THAT(mistakes(std::string(echo) + "[api]\nlisten = \"" + longest + "x\""),
              ElementsAre(HasSubstr("the path has 108 bytes")));
}

TEST(Loading, BadDurationsSayWhatIsMissing) {
  for (const char* value : {"\"30\"", "\"\"", "\"30 s\"", "\"-1s\"", "\"1y\"", "\"99999999999999999999s\"", "\"nan s\"",
                            "\"2h\"", "30", "1.5", "true"}) {
    EXPECT_THAT(mistakes(std::string(echo) + "[gateway]\ndrain_timeout = " + value),
                ElementsAre(StartsWith("f:4:17: gateway.drain_timeout: ")))
        << value;
  }
}

TEST(Loading, MessagesFitOneLineOfATerminal) {
  for (const char* text : {"[gateway]\ndrain_timeout = \"1\\u001b[31m\\n\"\n", "[\"\\u001b[31m\"]\n",
                           "[agent.\"\\n\"]\nkind = \"\\u0007\"\n", "[gateway]\n\"\\u009b\" = 1\n",
                           "[api]\nlisten = \"\\u001b:1\"\n", "[agent.a]\nkind = \"\\u0007\"\n"}) {
    for (const std::string& message : mistakes(text)) {
      EXPECT_THAT(message, testing::Each(testing::Truly([](char c) { return static_cast<unsigned char>(c) >= 0x20; })))
          << text;
      EXPECT_THAT(message, Not(HasSubstr("\xc2\x9b")));
    }
  }
}

TEST(Loading, BadBaseUrls) {
  for (const char* url : {"ftp://h/v1", "llm.example/v1", "http://", "http:///v1", "https://h/v1?key=1", "https://h/#x",
                          "http://h:99999/v1", "http://h:0/", "", "http://h/a b"}) {
    EXPECT_THAT(mistakes(std::string("[agent.default]\nkind = \"openai\"\nmodel = \"m\"\nbase_url = \"") + url + "\""),
                ElementsAre(StartsWith("f:4:12: agent.default.base_url: ")))
        << url;
  }
  for (const char* url : {"http://127.0.0.1:11434/v1", "https://api.example.com/v1/", "http://[::1]:1", "HTTP://h"}) {
    EXPECT_THAT(mistakes(std::string("[agent.default]\nkind = \"openai\"\nmodel = \"m\"\nbase_url = \"") + url + "\""),
                IsEmpty())
        << url;
  }
}

// Wherever a secret was put literally, no message may show it.
TEST(Loading, SecretsAreNeverRepeated) {
  const std::string agent = "[agent.default]\nkind = \"openai\"\nmodel = \"m\"\nbase_url = \"http://h\"\n";
  for (const std::string& text : {
           agent + "api_key = \"hunter2hunter2\"",
           agent + "api_key = \"env:hunter2-hunter2\"",
           agent + "api_key = \"file:hunter2\"",
           agent + "api_key = \"cred:../hunter2\"",
           agent + "api_key = [\"hunter2\"]",
           agent + "api_key = hunter2",
           agent + "api_key = \"hunter2",
           agent + "api_key = 'hunter2\n'",
           agent + "api_key = 2hunter2",
           agent + "api_key = \"\\hunter2\"",
           agent + "[api]\nkeys = [\"hunter2\"]",
           agent + "[api]\nkeys = \"hunter2\"",
           std::string("[agent.default]\nkind = \"openai\"\nmodel = \"m\"\nbase_url = \"http://me:hunter2@h/v1\"\n"),
       }) {
    const auto found = mistakes(text);
    EXPECT_THAT(found, ElementsAre(Not(HasSubstr("unter2")))) << text;
  }
}

TEST(Loading, CommandsNameAProgram) {
  for (const char* value : {"[]", "[\"\"]", "\"tr a b\"", "[1]", "[[\"x\"]]", "[\"a\\u0000b\"]"}) {
    EXPECT_THAT(mistakes(std::string("[agent.default]\nkind = \"command\"\ncommand = ") + value),
                ElementsAre(HasSubstr("agent.default.command: ")))
        << value;
  }
}

TEST(Loading, IrcValuesCanNotSmuggleLines) {
  const std::string base = std::string(echo) + "[channel.c]\nkind = \"irc\"\nserver = \"h\"\n";
  for (const char* line : {"nick = \"a\\r\\nQUIT\"", "nick = \"\"", "nick = \"a b\""}) {
    EXPECT_THAT(mistakes(base + line), ElementsAre(HasSubstr("channel.c.nick: "))) << line;
  }
  for (const char* line : {"realname = \"a\\nQUIT\"", "user = \"a b\"", "join = [\"talaria\"]", "join = [\"#a,0\"]",
                           "join = [\"#a\\r\\nQUIT\"]", "allow = [\"alice\"]", "allow = [\"nick:\"]", "burst = 0",
                           "lines_per_second = nan", "lines_per_second = 0", "server_password = \"x\"",
                           "ca_file = \"relative.pem\"", "sasl_account = \"a\\u0000b\"\nsasl_password = \"env:X\""}) {
    EXPECT_THAT(mistakes(base + "nick = \"n\"\n" + line), ElementsAre(StartsWith("f:7:"))) << line;
  }
}

// What a [channel.hook] of kind webhook with these lines is told.
std::string webhook_complaint(std::string_view lines, bool api = true) {
  std::string text = api ? "[api]\nlisten='127.0.0.1:0'\n" : "";
  text += "[agent.default]\nkind='echo'\n[channel.irc]\nkind='irc'\nserver='h'\nnick='n'\n";
  text += "[channel.hook]\nkind='webhook'\n";
  std::string told;
  for (const Diagnostic& diagnostic : load_config_text(text + std::string(lines), "f").diagnostics)
    told += diagnostic.key + ": " + diagnostic.message + "\n";
  return told;
}

TEST(Loading, AWebhookWithoutASecretIsRefused) {
  const std::string good = "scheme='github'\nsecret='env:S'\ndeliver_to='irc:#x'\n";
  EXPECT_EQ(webhook_complaint(good), "");
  EXPECT_EQ(webhook_complaint("url='https://h.example/x?y=1'\nsign_secret='env:S'\n", false), "");
  EXPECT_THAT(webhook_complaint("scheme='github'\ndeliver_to='irc:#x'\n"), HasSubstr("hook.scheme: needs secret"));
  EXPECT_THAT(webhook_complaint("secret='env:S'\n"), HasSubstr("hook.secret: needs scheme"));
  EXPECT_THAT(webhook_complaint("url='https://h.example'\n"), HasSubstr("hook.url: needs sign_secret"));
  EXPECT_THAT(webhook_complaint("sign_secret='env:S'\n"), HasSubstr("hook.sign_secret: needs url"));
  EXPECT_THAT(webhook_complaint(""), HasSubstr("neither receives nor sends"));
  EXPECT_THAT(webhook_complaint(good, false), HasSubstr("/hooks/hook"));
  EXPECT_THAT(webhook_complaint("scheme='github'\nsecret='env:S'\n"), HasSubstr("would go nowhere"));
  EXPECT_EQ(webhook_complaint("scheme='standard'\nsecret='env:S'\ndeliver_to='none'\n"), "");
  EXPECT_THAT(webhook_complaint(good + "allow=['*']\n"), HasSubstr("a key of kind irc"));
}

TEST(Loading, AWebhooksTargetsAndTextsAreChecked) {
  const std::string base = "scheme='gitlab'\nsecret='env:S'\n";
  EXPECT_THAT(webhook_complaint(base + "deliver_to='irx:#x'\n"), HasSubstr("there is no [channel.irx]"));
  EXPECT_THAT(webhook_complaint(base + "deliver_to='hook:x'\n"), HasSubstr("has no url"));
  for (const char* wrong : {"irc", "irc:", ":x", "", "i rc:x"})
    EXPECT_THAT(webhook_complaint(base + "deliver_to='" + wrong + "'\n"), HasSubstr("hook.deliver_to: "));
  EXPECT_THAT(webhook_complaint(base + "deliver_to='none'\ndeliver_only=true\n"), HasSubstr("deliver_only: needs"));
  EXPECT_THAT(webhook_complaint(base + "deliver_to='none'\nprompt='{{ a'\n"), HasSubstr("without \"}}\""));
  EXPECT_THAT(webhook_complaint(base + "deliver_to='none'\nevents=['issues.*']\n"), HasSubstr("is no event"));
  EXPECT_THAT(webhook_complaint("scheme='githab'\nsecret='env:S'\ndeliver_to='none'\n"), HasSubstr("is no scheme"));
  for (const char* wrong :
       {"http://h.example/", "ftp://h.example/", "https://u:p@h.example/", "https://h.example/#x", "https:///x",
        "h.example", "http://127.0.0.1.h.example/", "http://localhost.h.example/", "https://127.0.0.1.h.example/"})
    EXPECT_THAT(webhook_complaint(fmt::format("url='{}'\nsign_secret='env:S'\n", wrong)), HasSubstr("hook.url: "))
        << wrong;
  for (const char* good :
       {"http://127.0.0.1:8080/x", "http://[::1]/", "http://localhost/", "https://h.example:444/a?b"})
    EXPECT_EQ(webhook_complaint(fmt::format("url='{}'\nsign_secret='env:S'\n", good)), "");
}

TEST(Loading, AChannelProgramsSecretsAreReferences) {
  const auto load = [](const std::string& lines) {
    return load_config_text("agent.default.kind='echo'\n[channel.p]\nkind='program'\n" + lines, "f");
  };
  const auto complaint = [&](const std::string& lines) {
    std::string told;
    for (const Diagnostic& diagnostic : load(lines).diagnostics) told += diagnostic.message + "\n";
    return told;
  };
  const auto good =
      load("command=['/p','x']\nenvironment={ TOKEN='env:T', B='file:/b' }\nallow=['id:7','*']\naccount='a b'\n");
  EXPECT_TRUE(good.ok());
  const auto& program = good.config.channels.at("p").program;
  EXPECT_EQ(program.environment.at("TOKEN"), (SecretRef{SecretRef::Source::environment, "T"}));
  EXPECT_EQ(program.environment.size(), 2U);
  EXPECT_EQ(complaint("command=['/p']\n[channel.p.environment]\nTOKEN='env:T'\n"), "");
  EXPECT_THAT(complaint(""), HasSubstr("is missing"));
  EXPECT_THAT(complaint("command=[]\n"), HasSubstr("names no program"));
  EXPECT_THAT(complaint("command=['/p']\nenvironment={ TOKEN='hunter2' }\n"), HasSubstr("by reference"));
  EXPECT_THAT(complaint("command=['/p']\nenvironment={ TOKEN='hunter2' }\n"), testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(complaint("command=['/p']\nenvironment={ 'A=B'='env:T' }\n"), HasSubstr("can't name a variable"));
  EXPECT_THAT(complaint("command=['/p']\nenvironment=['env:T']\n"), HasSubstr("must be a table"));
}

TEST(Loading, TablesInTheWrongPlace) {
  EXPECT_THAT(mistakes("[agent]\nkind = \"echo\"\n"),
              ElementsAre(HasSubstr("agent.kind: keys of agent stand in a table with a name"),
                          HasSubstr("no agent is configured")));
  EXPECT_THAT(mistakes(std::string(echo) + "[[channel]]\nkind = \"irc\"\n"),
              ElementsAre(HasSubstr("channel: must be a table, but this is an array")));
  EXPECT_THAT(mistakes("listen = 1\n" + std::string(echo)),
              ElementsAre(HasSubstr("f:1:1: listen: unknown key outside of any table")));
  EXPECT_THAT(mistakes("[agent.\"a b\"]\nkind = \"echo\"\n" + std::string(echo)),
              ElementsAre(HasSubstr("agent.a b: \"a b\" can't be a name")));
}

TEST(Loading, DottedAndInlineTablesAreTheSame) {
  EXPECT_EQ(load_good("agent.default.kind = \"echo\"\ngateway = { history_turns = 7 }\n").gateway.history_turns, 7);
}

TEST(Loading, KnowsWhereEachKeyStands) {
  const LoadOutcome outcome = load_config_text("\n" + std::string(echo) + "[gateway]\nhistory_turns = 1\n", "f");
  EXPECT_THAT(outcome.lines, testing::UnorderedElementsAre(testing::Pair("agent.default.kind", 3),
                                                           testing::Pair("gateway.history_turns", 5)));
}

// What would exhaust the stack of a recursive parser, or of the destructor of its tree.
TEST(Loading, DeepNestingIsRefused) {
  std::string dots = "[a";
  for (int i = 0; i < 200'000; ++i) dots += ".a";
  EXPECT_THAT(mistakes(dots + "]\n"), ElementsAre(HasSubstr("a key with more than 16 parts")));
  EXPECT_THAT(mistakes("x = " + std::string(100'000, '[')), ElementsAre(HasSubstr("nested")));
  std::string tables = "x = ";
  for (int i = 0; i < 100'000; ++i) tables += "{a=";
  EXPECT_THAT(mistakes(tables), ElementsAre(HasSubstr("nested")));
}

TEST(Loading, ProseMayHaveAsManyDotsAsItLikes) {
  const std::string dots(500, '.');
  EXPECT_THAT(
      mistakes(std::string(echo) + "system = \"\"\"" + dots + "\n\\\"\"\" " + dots + "\"\"\"\"\" # " + dots + "\n"),
      IsEmpty());
  EXPECT_THAT(mistakes(std::string(echo) + "system = '" + dots + "\\'\n"), IsEmpty());
  EXPECT_THAT(mistakes(std::string(echo) + "system = \"it\\\"s " + dots + "\"\n"), IsEmpty());
}

// Both are undefined behaviour in toml++ 3.3 as it comes (see toml_tree.cpp).
TEST(Loading, ATableHeaderNeedsAKey) {
  for (const char* header : {"[=", "[\x01]", "[[#", "[.a]", "[a.]"}) {
    EXPECT_THAT(mistakes(header), ElementsAre(StartsWith("f:1:"))) << header;
  }
}

TEST(Loading, LettersBeyondAsciiStayWhereTheyAre) {
  const std::string text = std::string(echo) + "system = \"\"\"\\\n   \u00dcber \\\n \u0416\u3042\"\"\"\n";
  EXPECT_EQ(load_good(text).agents.at("default").system, "\u00dcber \u0416\u3042");
  EXPECT_THAT(mistakes(std::string(echo) + "\u00fc = 1\n"), ElementsAre(StartsWith("f:3:1: this is not TOML")));
}

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() : directory_(std::filesystem::temp_directory_path() / ("talaria-config-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(directory_);
  }
  ~ConfigFile() override { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_ / "config.toml"; }
  std::string only_mistake() const {
    const LoadOutcome outcome = load_config_file(path());
    EXPECT_EQ(outcome.diagnostics.size(), 1U);
    return outcome.diagnostics.empty() ? "" : to_string(outcome.diagnostics.front());
  }
  std::filesystem::path directory_;
};

TEST_F(ConfigFile, IsRead) {
  std::ofstream(path()) << echo;
  EXPECT_TRUE(load_config_file(path()).ok());
}

TEST_F(ConfigFile, AbsentSaysHowToMakeOne) {
  EXPECT_THAT(only_mistake(), StartsWith(path() + ": there is no configuration; create " + path()));
}

TEST_F(ConfigFile, ThatIsNoRegularFileNeverBlocks) {
  std::filesystem::create_directory(path());
  EXPECT_EQ(only_mistake(), path() + ": is not a regular file");
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_EQ(only_mistake(), path() + ": is not a regular file");
}

TEST_F(ConfigFile, OverOneMebibyteIsRefused) {
  std::ofstream(path()) << echo << "#" << std::string(1024 * 1024, 'x') << "\n";
  EXPECT_THAT(only_mistake(), HasSubstr("larger than 1 MiB"));
}

}  // namespace
}  // namespace talaria
