#include "cli/terminal_text.h"

#include <gtest/gtest.h>

namespace talaria::cli {
namespace {

// The same whatever the pieces.
std::string shown(std::string_view text) {
  TerminalText whole;
  std::string at_once = whole.feed(text);
  at_once += whole.finish();
  TerminalText bytes;
  std::string piecemeal;
  for (std::size_t i = 0; i < text.size(); ++i) piecemeal += bytes.feed(text.substr(i, 1));
  piecemeal += bytes.finish();
  EXPECT_EQ(at_once, piecemeal);
  return at_once;
}

TEST(TerminalText, WordsLinesAndTabsStay) {
  EXPECT_EQ(shown("Grüße, 世界 🙂\n\tindented\n"), "Grüße, 世界 🙂\n\tindented\n");
  EXPECT_EQ(shown("one\r\ntwo\r\n"), "one\ntwo\n");
  EXPECT_EQ(shown(""), "");
}

TEST(TerminalText, NoControlSequenceComesThrough) {
  EXPECT_EQ(shown("\x1b]0;title\a"), "\\x1b]0;title\\x07");
  EXPECT_EQ(shown("\xc2\x9b"
                  "2J"),
            "\\xc2\\x9b2J")
      << "U+009B, the same as ESC [";
  EXPECT_EQ(shown("\x9b"
                  "2J"),
            "\\x9b2J")
      << "the same to a terminal without UTF-8";
  EXPECT_EQ(shown("\x7f\b"), "\\x7f\\x08");
}

TEST(TerminalText, WhatNeverBecomesACharacterIsShownAtTheEnd) {
  EXPECT_EQ(shown("a\xf0\x9f\x99"), "a\\xf0\\x9f\\x99");
  EXPECT_EQ(shown("\xe4z"), "\\xe4z");
}

TEST(TerminalText, ACharacterIsShownAsSoonAsItIsWhole) {
  TerminalText text;
  EXPECT_EQ(text.feed("na\xc3"), "na");
  EXPECT_EQ(text.feed("\xaf"), "ï");
}

}  // namespace
}  // namespace talaria::cli
