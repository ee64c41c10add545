#include "channel/text_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <boost/asio.hpp>
#include <ctime>
#include <numeric>

#include "channel/text_samples.h"

namespace talaria {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string join(const std::vector<std::string>& pieces, std::string_view between = "") {
  std::string out;
  for (const auto& piece : pieces) out += (out.empty() ? "" : std::string(between)) + piece;
  return out;
}

TEST(ReplaceInvalidUtf8, KeepsValidTextAndReplacesTheRest) {
  EXPECT_EQ(replace_invalid_utf8("grüß 👩‍👩‍👧 dich"), "grüß 👩‍👩‍👧 dich");
  EXPECT_EQ(replace_invalid_utf8("a\xff\x62"), "a\xEF\xBF\xBD\x62");
  EXPECT_EQ(replace_invalid_utf8("cut \xe2\x82"), "cut \xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(replace_invalid_utf8("\xed\xa0\x80").find("\xed"), std::string::npos);  // a surrogate is no character
}

TEST(SplitPoint, PrefersTheLastBlank) {
  EXPECT_EQ(split_point("hello world", 20), 11U);
  EXPECT_EQ(split_point("hello world", 8), 6U);          // "hello "
  EXPECT_EQ(split_point("a bcdefghijklmnop", 10), 10U);  // the blank would leave too much room unused
  EXPECT_EQ(split_point("abcdefghij", 4), 4U);
}

TEST(Utf16, CountsAndFindsUnits) {
  EXPECT_EQ(length_in(TextUnit::utf16, "aß語😀"), 5U);
  EXPECT_EQ(length_in(TextUnit::bytes, "aß語😀"), 10U);
  EXPECT_EQ(utf16_offset("aß語😀b", 2), 3U);
  EXPECT_EQ(utf16_offset("aß語😀b", 4), 6U) << "the middle of a pair";
  EXPECT_EQ(utf16_offset("aß語😀b", 5), 10U);
  EXPECT_EQ(utf16_offset("ab", 99), 2U);
}

TEST(Utf16, SplitsByUnits) {
  EXPECT_EQ(split_point("😀😀😀", 4, TextUnit::utf16), 8U);
  EXPECT_EQ(split_point("äöü äöü", 5, TextUnit::utf16), 7U);
  const auto fenced = split_text("```\n" + std::string(200, 'x') + "\n```", 100, TextUnit::utf16);
  ASSERT_GT(fenced.size(), 2U);
  for (const auto& piece : fenced) EXPECT_TRUE(piece.starts_with("```\n") && piece.ends_with("\n```")) << piece;
}

RC_GTEST_PROP(Utf16, EveryPieceFits, ()) {
  const auto lines = *rc::gen::container<std::vector<std::string>>(test::any_text());
  const auto limit = *rc::gen::inRange<std::size_t>(64, 200);
  for (const auto& piece : split_text(join(lines, "\n"), limit, TextUnit::utf16))
    RC_ASSERT(length_in(TextUnit::utf16, piece) <= limit);
}

RC_GTEST_PROP(SplitText, TheFirstPiecesAreThoseOfTheWholeText, ()) {
  const auto lines = *rc::gen::container<std::vector<std::string>>(
      rc::gen::oneOf(test::any_text(), rc::gen::element<std::string>("```", "~~~", "", "plain words here")));
  const auto limit = *rc::gen::inRange<std::size_t>(64, 200);
  auto all = split_text(join(lines, "\n"), limit, TextUnit::utf16);
  const auto most = *rc::gen::inRange<std::size_t>(1, 4);
  all.resize(std::min(all.size(), most));
  RC_ASSERT(split_text(join(lines, "\n"), limit, TextUnit::utf16, most) == all);
}

// One cut after the other, each from the whole rest.
RC_GTEST_PROP(Utf16, ALongLineIsCutAsByRepeatedSplitPoints, ()) {
  std::string line = replace_invalid_utf8(join(*rc::gen::container<std::vector<std::string>>(test::one_grapheme())));
  std::erase_if(line, [](char c) { return c == '\n' || c == '`' || c == '~'; });
  const auto limit = *rc::gen::inRange<std::size_t>(64, 100);
  std::vector<std::string> cut;
  for (std::string_view rest = line; !rest.empty();) {
    const auto n = split_point(rest, limit, TextUnit::utf16);
    if (rest.substr(0, n).find_first_not_of(" \t") != rest.npos) cut.emplace_back(rest.substr(0, n));
    rest.remove_prefix(n);
  }
  RC_ASSERT(split_text(line, limit, TextUnit::utf16) == cut);
}

TEST(Utf16, TheTimeOfACutGrowsWithTheTextAlone) {
  const auto cpu = [](std::size_t size) {
    const std::string text(size, 'x');
    timespec before{}, after{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    EXPECT_EQ(split_text(text, 4'000, TextUnit::utf16).size(), (size + 3'999) / 4'000);
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    return static_cast<double>(after.tv_sec - before.tv_sec) +
           1e-9 * static_cast<double>(after.tv_nsec - before.tv_nsec);
  };
  const double one = cpu(256 * 1024);
  EXPECT_LT(cpu(16 * 256 * 1024), 50 * one);
}

TEST(SplitPoint, NeverCutsAGrapheme) {
  const std::string family = "👩‍👩‍👧";  // three people, two joiners: 18 bytes, one grapheme
  ASSERT_EQ(family.size(), 18U);
  EXPECT_EQ(split_point("ab" + family, 19), 2U);
  EXPECT_EQ(split_point("ab" + family + "c", 20), 20U);
  EXPECT_EQ(split_point("abce\u0301y", 4), 3U);        // e with a combining accent
  EXPECT_EQ(split_point("🇩🇪🇫🇷", 12), 8U);              // two flags of two letters each
  EXPECT_EQ(split_point("a\xF0\x9F\x91\xA9", 4), 1U);  // a code point
}

TEST(SplitPoint, AGraphemeAboveTheLimitIsCutBetweenCodePoints) {
  std::string zalgo = "e";
  for (int i = 0; i < 20; ++i) zalgo += "\u0301";
  EXPECT_EQ(split_point(zalgo, 10), 9U);  // 1 + 4 × 2 bytes
}

TEST(CodeFence, FollowsCommonMark) {
  EXPECT_EQ(code_fence("```cpp"), "```");
  EXPECT_EQ(code_fence("   ~~~~"), "~~~~");
  EXPECT_EQ(code_fence("    ```"), "");  // four blanks: an indented block
  EXPECT_EQ(code_fence("``"), "");
  EXPECT_EQ(code_fence("```inline```"), "");
  EXPECT_EQ(code_fence("text ```"), "");
}

TEST(SplitText, ShortTextIsOneMessage) {
  EXPECT_THAT(split_text("hello\n\nworld", 100), ElementsAre("hello\n\nworld"));
  EXPECT_THAT(split_text("", 100), IsEmpty());
  EXPECT_THAT(split_text(" \n\n", 100), IsEmpty());
}

TEST(SplitText, ClosesAndOpensACodeBlockAtACut) {
  const std::string text = "Look:\n```cpp\n" + std::string(30, 'a') + "\n" + std::string(30, 'b') + "\n```\nDone";
  EXPECT_THAT(split_text(text, 64), ElementsAre("Look:\n```cpp\n" + std::string(30, 'a') + "\n```",
                                                "```cpp\n" + std::string(30, 'b') + "\n```\nDone"));
}

TEST(SplitText, ClosesABlockThatTheTextLeavesOpen) {
  EXPECT_THAT(split_text("```\nx", 64), ElementsAre("```\nx\n```"));
}

// Lines that are fences, and whether a block is open after the text.
bool balanced(const std::string& piece) {
  std::string open;
  for (std::string_view rest = piece; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    const auto fence = code_fence(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (fence.empty()) continue;
    if (open.empty()) {
      open = fence;
    } else if (fence.starts_with(open) && line.ends_with(fence)) {  // nothing may follow a closing fence
      open.clear();
    }
  }
  return open.empty();
}

RC_GTEST_PROP(SplitLine, PiecesFitAndJoinToTheLine, ()) {
  const auto line = replace_invalid_utf8(*test::any_text());
  const auto limit = *rc::gen::inRange<std::size_t>(4, 200);
  const auto pieces = split_line(line, limit);
  RC_ASSERT(join(pieces) == line);
  for (const auto& piece : pieces) {
    RC_ASSERT(!piece.empty() && piece.size() <= limit);
    RC_ASSERT(replace_invalid_utf8(piece) == piece);
  }
}

RC_GTEST_PROP(SplitLine, CutsFallBetweenGraphemes, ()) {
  // Of graphemes that fit, none may be cut: the line is built from known ones.
  const auto graphemes = *rc::gen::container<std::vector<std::string>>(test::one_grapheme());
  const auto line = join(graphemes);
  std::set<std::size_t> ends;
  for (std::size_t at = 0; const auto& grapheme : graphemes) ends.insert(at += grapheme.size());
  std::size_t at = 0;
  for (const auto& piece : split_line(line, *rc::gen::inRange<std::size_t>(32, 90)))
    RC_ASSERT(ends.contains(at += piece.size()));
}

RC_GTEST_PROP(SplitText, PiecesFitAndKeepFencesBalancedAndContent, ()) {
  const auto lines = *rc::gen::container<std::vector<std::string>>(rc::gen::oneOf(
      test::any_text(),
      rc::gen::element<std::string>("```", "```cpp", "~~~", "````", "  ```python x", "", "plain words here")));
  const auto text = join(lines, "\n");
  const auto limit = *rc::gen::inRange<std::size_t>(64, 300);
  const auto pieces = split_text(text, limit);
  std::string content;
  for (const auto& piece : pieces) {
    RC_ASSERT(piece.size() <= limit);
    RC_ASSERT(balanced(piece));
    content += piece + "\n";
  }
  // Without fence lines and newlines nothing is lost, added or moved.
  const auto bare = [](const std::string& whole) {
    std::string out;
    for (std::string_view rest = whole; !rest.empty();) {
      const auto end = std::min(rest.find('\n'), rest.size());
      const auto line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (code_fence(line).empty() && line.find_first_not_of(" \t") != line.npos) out += line;
    }
    std::erase_if(out, [](char c) { return c == ' ' || c == '\t'; });
    return out;
  };
  RC_ASSERT(bare(content) == bare(replace_invalid_utf8(text)));
}

}  // namespace
}  // namespace talaria
