#include "agent/command/utf8_cleaner.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <utf8proc.h>

namespace talaria {
namespace {

#define BAD "\xEF\xBF\xBD"

std::string clean(std::string_view bytes) {
  Utf8Cleaner cleaner;
  auto out = cleaner.push(bytes);
  return out + cleaner.finish();
}

// Somebody else's judgement.
bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    utf8proc_int32_t code_point = 0;
    const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                    static_cast<utf8proc_ssize_t>(text.size()), &code_point);
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

TEST(Utf8Cleaner, LeavesUtf8Alone) {
  for (const std::string_view text : {"", "plain\n\t", "äöü ß", "€", "\U0001F600", "\U0010FFFF",
                                      "\xED\x9F\xBF\xEE\x80\x80", "\xC2\x80", "\xE0\xA0\x80", "\xF0\x90\x80\x80"})
    EXPECT_EQ(clean(text), text);
}

// The examples of the Unicode Standard, tables 3-8 to 3-11.
TEST(Utf8Cleaner, ReplacesMaximalParts) {
  EXPECT_EQ(clean("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), BAD BAD BAD BAD BAD BAD BAD BAD "A");
  EXPECT_EQ(clean("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), BAD BAD BAD BAD BAD BAD BAD BAD "A");
  EXPECT_EQ(clean("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), BAD BAD BAD BAD BAD "A" BAD BAD "B");
  EXPECT_EQ(clean("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), BAD BAD BAD BAD "A");
}

TEST(Utf8Cleaner, NoZeroBytes) { EXPECT_EQ(clean(std::string_view("a\0b", 3)), "a" BAD "b"); }

TEST(Utf8Cleaner, AnIncompleteEndIsOneReplacement) {
  EXPECT_EQ(clean("x\xF0\x9F\x98"), "x" BAD);
  Utf8Cleaner cleaner;
  EXPECT_EQ(cleaner.push("\xE2\x82"), "");
  EXPECT_EQ(cleaner.finish(), BAD);
  EXPECT_EQ(cleaner.finish(), "");
  EXPECT_EQ(cleaner.push("\xE2\x82"), "");
  EXPECT_EQ(cleaner.push("\xAC"), "€");
}

RC_GTEST_PROP(Utf8Cleaner, HoweverItIsCutTheResultIsTheSameUtf8, (const std::vector<std::uint8_t>& bytes)) {
  const std::string text(bytes.begin(), bytes.end());
  const std::string whole = clean(text);
  RC_ASSERT(is_utf8(whole));
  RC_ASSERT(!whole.contains('\0'));
  Utf8Cleaner cleaner;
  std::string pieces;
  for (std::size_t at = 0; at < text.size();) {
    const auto length = *rc::gen::inRange<std::size_t>(1, 4);
    const std::string piece = cleaner.push(std::string_view(text).substr(at, length));
    RC_ASSERT(is_utf8(piece));
    pieces += piece;
    at += length;
  }
  pieces += cleaner.finish();
  RC_ASSERT(pieces == whole);
  RC_ASSERT(clean(whole) == whole);
}

}  // namespace
}  // namespace talaria
