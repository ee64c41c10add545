#include "base/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>

namespace talaria {
namespace {

TEST(EditDistance, CountsEditsAndSwapsOfNeighbours) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("model", "modle"), 1U);
  EXPECT_EQ(edit_distance("listen", "lsiten"), 1U);
  EXPECT_EQ(edit_distance("ca", "abc"), 3U);  // the restricted distance: no edit between swapped letters
}

RC_GTEST_PROP(EditDistance, IsSymmetricAndBounded, (const std::string& a, const std::string& b)) {
  const std::size_t distance = edit_distance(a, b);
  RC_ASSERT(distance == edit_distance(b, a));
  RC_ASSERT(distance <= std::max(a.size(), b.size()));
}

RC_GTEST_PROP(EditDistance, OfOneDeletionIsOne, ()) {
  const auto word = *rc::gen::nonEmpty(rc::gen::string<std::string>());
  RC_PRE(word.size() <= 60);
  auto shorter = word;
  shorter.erase(*rc::gen::inRange<std::size_t>(0, word.size()), 1);
  RC_ASSERT(edit_distance(word, shorter) == 1U);
}

TEST(EditDistance, OfHugeInputIsCheap) {
  const std::string huge(10'000'000, 'x');
  EXPECT_LE(edit_distance(huge, huge + "y"), 1U);
}

TEST(Nearest, FindsWhatWasMeant) {
  constexpr std::array<std::string_view, 4> words{"start", "stop", "status", "restart"};
  EXPECT_EQ(nearest("statsu", words), "status");
  EXPECT_EQ(nearest("stat", words), "start");
  EXPECT_EQ(nearest("restar", words), "restart");
  EXPECT_EQ(nearest("explain", words), std::nullopt);
  EXPECT_EQ(nearest("x", words), std::nullopt);
  EXPECT_EQ(nearest("", words), std::nullopt);
  EXPECT_EQ(nearest(std::string(1000, 's'), words), std::nullopt);
}

TEST(Nearest, KnowsBeginnings) {
  constexpr std::array<std::string_view, 2> words{"max_concurrent_turns", "history_turns"};
  EXPECT_EQ(nearest("max_concurrent", words), "max_concurrent_turns");
  EXPECT_EQ(nearest("hist", words), "history_turns");
}

TEST(TruncateUtf8, CutsBetweenCodePoints) {
  EXPECT_EQ(truncate_utf8("short", 5), "short");
  EXPECT_EQ(truncate_utf8("longer text", 9), "longer…");
  EXPECT_EQ(truncate_utf8("aäöü", 6), "aä…");
  EXPECT_EQ(truncate_utf8("aäöü", 5), "a…");
  EXPECT_EQ(truncate_utf8("aäöü", 2), "");
}

RC_GTEST_PROP(TruncateUtf8, NeverExceedsItsLimit, (const std::string& text)) {
  const auto limit = *rc::gen::inRange<std::size_t>(0, 40);
  RC_ASSERT(truncate_utf8(text, limit).size() <= limit);
}

TEST(Printable, EscapesWhatTerminalsObey) {
  EXPECT_EQ(printable("a\x1b[31m\r\n\t\x7f"), "a\\x1b[31m\\x0d\\n\\t\\x7f");
  EXPECT_EQ(printable("grün 🙂"), "grün 🙂");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xc2\\x9b");           // CSI as a single control character
  EXPECT_EQ(printable("\xC0\xAF\xFF"), "\\xc0\\xaf\\xff");  // overlong, and no UTF-8 at all
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xE2\x82"), "\\xe2\\x82");           // cut off
}

RC_GTEST_PROP(Printable, LeavesNoControlCharacter, (const std::string& text)) {
  for (const char c : printable(text)) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
}

TEST(MendSurrogates, ReplacesHalvesThatStandAlone) {
  EXPECT_EQ(mend_surrogates(R"({"a":"x\ud83d"})"), R"({"a":"x\ufffd"})");
  EXPECT_EQ(mend_surrogates(R"("\ude00 done")"), R"("\ufffd done")");
  EXPECT_EQ(mend_surrogates(R"("\ud83d\ude00")"), R"("\ud83d\ude00")");  // a whole character
  EXPECT_EQ(mend_surrogates(R"("\uD83D\uD83D\uDE00")"), R"("\ufffd\uD83D\uDE00")");
  EXPECT_EQ(mend_surrogates(R"("\\ud83d \\\udc00")"), R"("\\ud83d \\\ufffd")");  // the backslash itself is escaped
  EXPECT_EQ(mend_surrogates(R"("\u00e9\n")"), R"("\u00e9\n")");
  for (const char* cut : {"\\", "\\u", "\\ud83", "\\ud83d\\", "\\u+123"})
    EXPECT_EQ(mend_surrogates(cut).size(), std::string_view(cut).size());
}

}  // namespace
}  // namespace talaria
