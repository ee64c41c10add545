#include "config/schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "config/loading.h"

namespace talaria {
namespace {

using testing::HasSubstr;

// A configuration in which only one table is of interest, with the keys that its kind demands except `but`.
std::string with_line(const Field& field, std::string_view line) {
  if (!field.table.ends_with(".*")) return fmt::format("agent.a.kind = 'echo'\n[{}]\n{}\n", field.table, line);
  const bool agent = field.table == "agent.*";
  std::string kind = std::string(field.kinds.empty() ? (agent ? "echo" : "irc") : field.kinds);
  kind = kind.substr(0, kind.find(' '));
  if (field.name == "kind") kind = field.example.substr(1, field.example.size() - 2);
  std::string out = agent ? "[agent.default]\n" : "agent.default.kind = 'echo'\n[channel.c]\n";
  if (field.name != "kind") out += fmt::format("kind = '{}'\n", kind);
  for (const Field& other : all_fields()) {
    if (other.table == field.table && other.required && other.name != "kind" && other.name != field.name &&
        applies_to(other, kind)) {
      out += fmt::format("{} = {}\n", other.name, other.example);
    }
  }
  if (kind == "email" && field.name != "trusted_authserv" && field.example != "\"none\"")
    out += "trusted_authserv = 'mx.example.org'\n";
  if (field.name == "sasl_account") out += "sasl_password = 'env:X'\n";
  if (field.name == "sasl_password") out += "sasl_account = 'x'\n";
  if (field.name == "webhook_url") out += "webhook_secret = 'env:X'\n";
  if (field.name == "webhook_secret") out += "webhook_url = 'https://bot.example/hooks/c'\n";
  if (kind == "webhook") {
    for (const auto& [key, value] :
         {std::pair("scheme", "'github'"), std::pair("secret", "'env:X'"), std::pair("url", "'https://h.example'"),
          std::pair("sign_secret", "'env:X'"), std::pair("deliver_to", "'other:room'")}) {
      if (field.name != key) out += fmt::format("{} = {}\n", key, value);
    }
    const std::string others =
        "[channel.other]\nkind='irc'\nserver='h'\nnick='n'\n[channel.libera]\nkind='irc'\nserver='h'\nnick='n'\n"
        "[api]\nlisten='127.0.0.1:0'\n";
    return out + std::string(line) + "\n" + others;
  }
  return out + std::string(line) + "\n";
}

TEST(Schema, EveryExampleLoads) {
  for (const Field& field : all_fields()) {
    const std::string text = with_line(field, fmt::format("{} = {}", field.name, field.example));
    for (const Diagnostic& diagnostic : load_config_text(text, "example").diagnostics)
      ADD_FAILURE() << to_string(diagnostic) << "\n" << text;
  }
}

TEST(Schema, EveryKeyRefusesATypeThatIsNotItsOwn) {
  for (const Field& field : all_fields()) {
    const std::string text = with_line(field, fmt::format("{} = 1979-05-27", field.name));
    const auto diagnostics = load_config_text(text, "f").diagnostics;
    EXPECT_TRUE(std::ranges::any_of(diagnostics, [&](const Diagnostic& found) {
      return found.key.ends_with(field.name);
    })) << text;
  }
}

TEST(Schema, WhatIsRenderedLoadsAsTheSameValue) {
  for (const Field& field : all_fields()) {
    const std::string text = with_line(field, fmt::format("{} = {}", field.name, field.example));
    LoadOutcome first = load_config_text(text, "f");
    const std::string instance = field.table == "agent.*" ? "default" : field.table == "channel.*" ? "c" : "";
    const auto slot = slot_of(first.config, {&field, instance});
    ASSERT_TRUE(slot) << text;
    const std::string rendered = render_toml(*slot);
    LoadOutcome second = load_config_text(with_line(field, fmt::format("{} = {}", field.name, rendered)), "f");
    ASSERT_TRUE(second.ok()) << rendered;
    EXPECT_EQ(render_toml(*slot_of(second.config, {&field, instance})), rendered);
  }
}

TEST(Schema, RenderingEscapes) {
  std::string text = "a\"b\\c\n\x7F\x01 ü";
  const std::string rendered = render_toml(&text);
  LoadOutcome outcome = load_config_text("[agent.a]\nkind='echo'\nsystem=" + rendered, "f");
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome.config.agents.at("a").system, text);
}

TEST(Schema, KeysAreUniqueAndExplained) {
  std::set<std::string> seen;
  for (const Field& field : all_fields()) {
    EXPECT_TRUE(seen.insert(fmt::format("{}.{}", field.table, field.name)).second) << field.name;
    EXPECT_TRUE(field.doc.ends_with('.')) << field.name;
    EXPECT_FALSE(field.example.empty()) << field.name;
  }
}

TEST(Schema, FindsKeysAndSuggests) {
  EXPECT_EQ(find_key("gateway.drain_timeout")->field->name, "drain_timeout");
  EXPECT_EQ(find_key("agent.default.model")->instance, "default");
  EXPECT_EQ(find_key("channel.NAME.nick")->instance, "NAME");
  EXPECT_THAT(find_key("agent.default.modle").error().what, HasSubstr("did you mean agent.default.model?"));
  EXPECT_THAT(find_key("drain_timeout").error().what, HasSubstr("did you mean gateway.drain_timeout?"));
  for (const char* bad : {"", ".", "..", "gateway", "gateway.x.drain_timeout", "agent.model", "agent..model"}) {
    EXPECT_FALSE(find_key(bad)) << bad;
  }
}

TEST(Schema, ThereIsNoValueOfAnAgentThatIsNotThere) {
  Config config;
  EXPECT_FALSE(slot_of(config, *find_key("agent.ghost.model")));
  EXPECT_TRUE(config.agents.empty()) << "asking must not make one";
}

}  // namespace
}  // namespace talaria
