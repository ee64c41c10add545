#include "channel/irc/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <numeric>

namespace talaria::irc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ParseMessage, TakesALineApart) {
  const auto m = parse_message(
      R"(@time=2026-01-01T00:00:00Z;account=al\:i\sce\\;bare :bob!~b@host.example privmsg #room :hi :there  )");
  ASSERT_TRUE(m);
  EXPECT_EQ(m->source, (Source{"bob", "~b", "host.example"}));
  EXPECT_EQ(m->source.mask(), "~b@host.example");
  EXPECT_EQ(m->command, "PRIVMSG");
  EXPECT_THAT(m->params, ElementsAre("#room", "hi :there  "));
  EXPECT_EQ(*m->tag("account"), "al;i ce\\");
  EXPECT_EQ(*m->tag("bare"), "");
  EXPECT_EQ(m->tag("absent"), nullptr);
  EXPECT_EQ(m->param(7), "");
}

TEST(ParseMessage, KnowsServersFromPeople) {
  EXPECT_FALSE(parse_message(":irc.example 001 me :Welcome")->source.is_user());
  EXPECT_TRUE(parse_message(":bob@host QUIT")->source.is_user());
  EXPECT_EQ(parse_message("PING x")->source, Source{});
}

TEST(ParseMessage, TheFifteenthParameterTakesTheRest) {
  const auto m = parse_message("X 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16");
  ASSERT_EQ(m->params.size(), kMaxParams);
  EXPECT_EQ(m->params.back(), "15 16");
}

TEST(ParseMessage, TheLastOfARepeatedTagCounts) { EXPECT_EQ(*parse_message("@a=1;a=2 X")->tag("a"), "2"); }

TEST(ParseMessage, RefusesWhatIsNoLine) {
  EXPECT_FALSE(parse_message(""));
  EXPECT_FALSE(parse_message("   "));
  EXPECT_FALSE(parse_message("@only=tags"));
  EXPECT_FALSE(parse_message(":only.source"));
  EXPECT_FALSE(parse_message("12 x"));
  EXPECT_FALSE(parse_message("PRIV-MSG x"));
  EXPECT_FALSE(parse_message("A b\rc"));
  EXPECT_FALSE(parse_message(std::string_view("A b\0c", 5)));
  EXPECT_FALSE(parse_message("A :" + std::string(kMaxInput, 'x')));
}

TEST(ParseMessage, ReplacesBytesThatAreNoUtf8) {
  EXPECT_THAT(parse_message("PRIVMSG me :gr\xfc\xdf")->params[1], HasSubstr("\xEF\xBF\xBD"));
}

std::string made(std::string_view command, std::vector<std::string> params) {
  auto line = format_line(command, params);
  return line ? *line : "refused: " + line.error().what;
}

TEST(FormatLine, PutsTheColonWhereItIsNeeded) {
  EXPECT_EQ(made("JOIN", {"#a", "key"}), "JOIN #a key");
  EXPECT_EQ(made("USER", {"u", "0", "*", "Real Name"}), "USER u 0 * :Real Name");
  EXPECT_EQ(made("TOPIC", {"#a", ""}), "TOPIC #a :");
  EXPECT_EQ(made("PRIVMSG", {"bob", ":)"}), "PRIVMSG bob ::)");
}

TEST(FormatLine, LetsNothingSmuggleASecondLineOut) {
  for (const std::string evil : {"a\r\nQUIT", "a\nQUIT", "a\rQUIT"}) {
    EXPECT_THAT(made("PRIVMSG", {"bob", evil}), HasSubstr("refused"));
    EXPECT_THAT(made("PRIVMSG", {evil, "x"}), HasSubstr("refused"));
  }
  EXPECT_THAT(made("PRIVMSG", {"bob", std::string("a\0b", 3)}), HasSubstr("NUL"));
  EXPECT_THAT(made("PRIVMSG", {"bob eve", "x"}), HasSubstr("blank"));
  EXPECT_THAT(made("PRIVMSG", {"", "x"}), HasSubstr("empty"));
  EXPECT_THAT(made("PRIVMSG", {":bob", "x"}), HasSubstr("colon"));
  EXPECT_THAT(made("QUIT\r\n", {}), HasSubstr("refused"));
  EXPECT_THAT(made("", {}), HasSubstr("refused"));
}

TEST(FormatLine, RefusesWhatTheServerWouldCut) {
  EXPECT_EQ(made("PRIVMSG", {"bob", std::string(497, 'x')}).size(), 509U);
  EXPECT_EQ(made("PRIVMSG", {"bob", std::string(498, 'x')}).size(), 510U);
  EXPECT_THAT(made("PRIVMSG", {"bob", std::string(499, 'x')}), HasSubstr("510"));
}

RC_GTEST_PROP(Message, AnyLineParsesOrIsRefused, (std::string line)) {
  const auto m = parse_message(line);
  if (m) RC_ASSERT(!m->command.empty() && m->params.size() <= kMaxParams);
}

RC_GTEST_PROP(Message, WhatIsFormattedParsesBack, ()) {
  const auto word = rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>('!', '~')));
  auto params = *rc::gen::resize(20, rc::gen::container<std::vector<std::string>>(word));
  if (params.size() > 14) params.resize(14);
  params.push_back(*rc::gen::container<std::string>(rc::gen::inRange<char>(' ', '~')));
  const auto line = format_line("PRIVMSG", params);
  if (!line) {
    const bool colon = std::any_of(params.begin(), params.end() - 1, [](const auto& p) { return p.starts_with(':'); });
    const bool long_line = std::accumulate(params.begin(), params.end(), std::size_t{8},
                                           [](std::size_t n, const auto& p) { return n + p.size() + 2; }) > 500;
    RC_ASSERT(colon || long_line);
    RC_DISCARD("not a line");
  }
  RC_ASSERT(line->size() <= kMaxLine - 2);
  const auto back = parse_message(*line);
  RC_ASSERT(back.has_value());
  RC_ASSERT(back->params == params);
}

std::optional<UnixMillis> time_tag(std::string_view text) {
  return Message{.tags = {{"time", std::string(text)}}}.time();
}

TEST(ServerTime, IsRead) {
  EXPECT_EQ(time_tag("2026-03-01T12:34:56.789Z"), 1'772'368'496'789);
  EXPECT_EQ(time_tag("2026-03-01T12:34:56.7Z"), 1'772'368'496'700);
  EXPECT_EQ(time_tag("2026-03-01T12:34:56.789123456Z"), 1'772'368'496'789);
  EXPECT_EQ(time_tag("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(time_tag("2016-12-31T23:59:60.000Z"), time_tag("2017-01-01T00:00:00Z"));  // a leap second
  EXPECT_EQ(time_tag("2024-02-29T00:00:00Z"), 1'709'164'800'000);
}

TEST(ServerTime, GarbageIsNone) {
  EXPECT_EQ(Message{}.time(), std::nullopt);
  for (const char* text :
       {"", "Z", "now", "1772368496", "2026-03-01", "2026-03-01T12:34:56", "2026-03-01T12:34:56.Z",
        "2026-03-01T12:34:56.1234567890Z", "2026-03-01T12:34:56+01:00", "2026-03-01 12:34:56Z", "2026-13-01T12:34:56Z",
        "2026-02-29T12:34:56Z", "2026-03-01T24:00:00Z", "2026-03-01T12:60:00Z", "2026-03-01T12:34:61Z",
        "1969-12-31T23:59:59Z", "-026-03-01T12:34:56Z", "2026-03-01T12:34:56.78-Z", " 2026-03-01T12:34:56Z"})
    EXPECT_EQ(time_tag(text), std::nullopt) << text;
}

}  // namespace
}  // namespace talaria::irc
