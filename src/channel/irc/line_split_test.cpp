#include "channel/irc/line_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "channel/irc/message.h"
#include "channel/text_samples.h"
#include "channel/text_split.h"

namespace talaria::irc {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TextRoom, LeavesRoomForTheRelayedLine) {
  const std::string source = "talaria!~talaria@" + std::string(63, 'h');
  const std::string target = "#channel";
  const std::string relayed =
      ":" + source + " PRIVMSG " + target + " :" + std::string(text_room(source.size(), target), 'x') + "\r\n";
  EXPECT_EQ(relayed.size(), kMaxLine);
  EXPECT_EQ(text_room(10'000, target), 64U);
}

TEST(ComposeLines, NewlinesBecomeLinesAndEmptyOnesGo) {
  EXPECT_THAT(compose_lines("one\n\n  \r\ntwo\n", "", {}), ElementsAre("one", "two"));
  EXPECT_THAT(compose_lines("one\ntwo", "bob: ", {}), ElementsAre("bob: one", "two"));
  EXPECT_THAT(compose_lines("\n\none", "bob: ", {}), ElementsAre("bob: one"));
}

TEST(ComposeLines, NothingToSayIsSaid) {
  EXPECT_THAT(compose_lines("", "", {}), ElementsAre("(empty message)"));
  EXPECT_THAT(compose_lines("```\n```", "bob: ", {}), ElementsAre("bob: (empty message)"));
}

TEST(ComposeLines, FlattensMarkdownButNotCode) {
  EXPECT_THAT(
      compose_lines(
          "## Title\nsome **bold** text, 2 ** 3\n```py\n# comment **x**\n    indented\n```\n`a**b` #tag\n#tag", "", {}),
      ElementsAre("Title", "some bold text, 2 ** 3", "# comment **x**", "    indented", "`a**b` #tag", "#tag"));
}

TEST(ComposeLines, ControlCharactersGo) {
  using namespace std::string_literals;
  EXPECT_THAT(compose_lines("\x01VERSION\x01\n\x02"
                            "bold\x0f\ttab\x7f \x00 nul"s,
                            "", {}),
              ElementsAre("VERSION", "bold tab  nul"));
  EXPECT_THAT(compose_lines("a\rQUIT", "", {}), ElementsAre("aQUIT"));
}

TEST(ComposeLines, VeryLongAnswersEndWithANotice) {
  std::string text;
  for (int i = 1; i <= 150; ++i) text += fmt::format("line {}\n", i);
  const auto lines = compose_lines(text, "", {.bytes = 400, .lines = 100});
  ASSERT_EQ(lines.size(), 100U);
  EXPECT_EQ(lines[98], "line 99");
  EXPECT_THAT(lines[99], HasSubstr("51 more lines"));
  EXPECT_EQ(compose_lines("a\nb", "", {.bytes = 400, .lines = 2}).back(), "b");
}

RC_GTEST_PROP(ComposeLines, EveryLineFitsAndCanBeSent, ()) {
  const auto parts = *rc::gen::container<std::vector<std::string>>(test::any_text());
  std::string text;
  for (const auto& part : parts) text += part + "\n";
  const auto limit = *rc::gen::inRange<std::size_t>(64, 420);
  const auto lines = compose_lines(text, "asker: ", {.bytes = limit, .lines = 50});
  RC_ASSERT(!lines.empty() && lines.size() <= 50U);
  for (const auto& line : lines) {
    RC_ASSERT(!line.empty() && line.size() <= limit);
    RC_ASSERT(replace_invalid_utf8(line) == line);
    RC_ASSERT(format_line("PRIVMSG", std::vector<std::string>{"bob", line}).has_value());
  }
}

RC_GTEST_PROP(ComposeLines, ALongPlainLineComesWhole, ()) {
  const auto graphemes = *rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("a", "b ", "語", "👩‍👩‍👧", "é"));
  std::string text;
  for (const auto& grapheme : graphemes) text += grapheme;
  RC_PRE(!text.empty());
  std::string joined;
  for (const auto& line : compose_lines(text, "", {.bytes = 64, .lines = 10'000})) joined += line;
  // A blank that would be alone on the last line goes.
  RC_ASSERT(joined == text || joined + " " == text);
}

}  // namespace
}  // namespace talaria::irc
