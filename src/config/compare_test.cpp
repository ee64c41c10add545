#include "config/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/loading.h"
#include "config/schema.h"

namespace talaria {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Config load(const std::string& text) {
  const LoadOutcome outcome = load_config_text(text, "test");
  for (const Diagnostic& diagnostic : outcome.diagnostics) ADD_FAILURE() << to_string(diagnostic);
  return outcome.config;
}

constexpr const char* base = R"(
[gateway]
drain_timeout = "30s"
[agent.default]
kind = "echo"
[agent.shell]
kind = "command"
command = ["/bin/cat"]
[channel.net]
kind = "irc"
server = "irc.example:6667"
tls = false
nick = "talaria"
allow = ["*"]
)";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos);
  return text.replace(at, from.size(), to);
}

TEST(CompareConfigs, TheSameTwiceIsNoChange) {
  const auto changes = compare_configs(load(base), load(base));
  EXPECT_TRUE(changes.empty());
  EXPECT_THAT(changes.need_restart, IsEmpty());
}

TEST(CompareConfigs, ChangedKeysAreNamed) {
  const auto changes = compare_configs(load(base), load(replaced(base, "30s", "1m")));
  EXPECT_THAT(changes.keys, ElementsAre("gateway.drain_timeout"));
  EXPECT_THAT(changes.agents.changed, IsEmpty());
}

TEST(CompareConfigs, AgentsAndChannelsComeChangeAndGo) {
  auto text = replaced(base, "/bin/cat", "/bin/tac");
  text = replaced(text, "channel.net", "channel.other");
  text += "[agent.more]\nkind = \"echo\"\n";
  const auto changes = compare_configs(load(base), load(text));
  EXPECT_THAT(changes.agents.added, ElementsAre("more"));
  EXPECT_THAT(changes.agents.changed, ElementsAre("shell"));
  EXPECT_THAT(changes.agents.gone, IsEmpty());
  EXPECT_THAT(changes.channels.added, ElementsAre("other"));
  EXPECT_THAT(changes.channels.gone, ElementsAre("net"));
  EXPECT_THAT(changes.keys, UnorderedElementsAre("agent.shell.command", "agent.more (new)", "channel.net (gone)",
                                                 "channel.other (new)"));
}

TEST(CompareConfigs, AnotherAgentAloneDisconnectsNoChannel) {
  const auto changes = compare_configs(load(base), load(std::string(base) + "agent = \"shell\"\n"));
  EXPECT_THAT(changes.channels.changed, IsEmpty());
  EXPECT_THAT(changes.keys, ElementsAre("channel.net.agent"));
  const auto both = compare_configs(load(base), load(replaced(base, "[\"*\"]", "[\"nick:bob\"]\nagent = \"shell\"")));
  EXPECT_THAT(both.channels.changed, ElementsAre("net"));
}

TEST(CompareConfigs, TheStoreCanNotMoveUnderARunningGateway) {
  const Config before = load(base);
  Config after = before;
  after.store.url = "postgresql://elsewhere";
  EXPECT_THAT(compare_configs(before, after).need_restart, ElementsAre("store.url"));
}

// Whatever key there is: another value is a change.
TEST(CompareConfigs, NoKeyIsForgotten) {
  for (const Field& field : all_fields()) {
    Config before = load(base);
    Config after = before;
    const auto slot = field.slot({&after, &after.agents.at("shell"), &after.channels.at("net")});
    std::visit(
        [](auto* value) {
          using T = std::remove_pointer_t<decltype(value)>;
          if constexpr (std::is_same_v<T, bool>)
            *value = !*value;
          else if constexpr (std::is_arithmetic_v<T>)
            *value += 1;
          else if constexpr (std::is_same_v<T, Millis>)
            *value += Millis{1};
          else if constexpr (std::is_same_v<T, std::optional<Millis>>)
            *value = Millis{77};
          else if constexpr (std::is_same_v<T, std::string>)
            *value += "x";
          else if constexpr (std::is_same_v<T, std::vector<std::string>>)
            value->push_back("x");
          else if constexpr (std::is_same_v<T, std::optional<SecretRef>>)
            *value = SecretRef{SecretRef::Source::environment, "X"};
          else if constexpr (std::is_same_v<T, std::vector<SecretRef>>)
            value->push_back({SecretRef::Source::environment, "X"});
          else if constexpr (std::is_same_v<T, std::map<std::string, SecretRef>>)
            value->emplace("X", SecretRef{SecretRef::Source::environment, "X"});
          else {
            value->host = "elsewhere";
            value->port = static_cast<std::uint16_t>(value->port + 1);
          }
        },
        slot);
    EXPECT_FALSE(compare_configs(before, after).empty()) << field.table << "." << field.name;
  }
}

}  // namespace
}  // namespace talaria
