#include "channel/irc/inbound.h"

#include <gtest/gtest.h>

namespace talaria::irc {
namespace {

constexpr auto kMapping = CaseMapping::rfc1459;

std::optional<Incoming> read(std::string_view line, std::string_view nick = "talaria") {
  const auto message = parse_message(line);
  if (!message) throw std::runtime_error(message.error().what);
  return read_privmsg(*message, nick, Isupport{});
}

TEST(StripMention, OnlyALineToUs) {
  EXPECT_EQ(strip_mention("talaria: hi there ", "talaria", kMapping), "hi there");
  EXPECT_EQ(strip_mention("TALARIA, hi", "talaria", kMapping), "hi");
  EXPECT_EQ(strip_mention("@talaria hi", "talaria", kMapping), "hi");
  EXPECT_EQ(strip_mention("@talaria: hi", "talaria", kMapping), "hi");
  EXPECT_EQ(strip_mention("bot{}: hi", "bot[]", kMapping), "hi");
  EXPECT_EQ(strip_mention("talaria is great", "talaria", kMapping), std::nullopt);
  EXPECT_EQ(strip_mention("talaria2: hi", "talaria", kMapping), std::nullopt);
  EXPECT_EQ(strip_mention("@talaria2 hi", "talaria", kMapping), std::nullopt);
  EXPECT_EQ(strip_mention("hi talaria: x", "talaria", kMapping), std::nullopt);
  EXPECT_EQ(strip_mention("", "talaria", kMapping), std::nullopt);
  EXPECT_EQ(strip_mention(": hi", "", kMapping), std::nullopt);
}

TEST(StripFormatting, ColoursAndBold) {
  EXPECT_EQ(strip_formatting("\x02"
                             "bold\x0f \x03"
                             "04,12red\x03 \x03"
                             "12"
                             "3 \x04"
                             "ff00aahex"),
            "bold red 3 hex");
  EXPECT_EQ(strip_formatting("\x03,x"), ",x");
  EXPECT_EQ(strip_formatting("\x03"
                             "4"),
            "");
}

TEST(ReadPrivmsg, PrivateAndAddressed) {
  const auto direct = read(":bob!b@h PRIVMSG Talaria :hello");
  ASSERT_TRUE(direct);
  EXPECT_TRUE(direct->direct);
  EXPECT_EQ(direct->target, "bob");
  EXPECT_EQ(direct->text, "hello");
  EXPECT_EQ(read(":bob!b@h PRIVMSG talaria :talaria: hello")->text, "hello");
  const auto room = read(":bob!b@h PRIVMSG #room :\x02talaria\x02: hello");
  ASSERT_TRUE(room);
  EXPECT_FALSE(room->direct);
  EXPECT_EQ(room->target, "#room");
  EXPECT_EQ(room->text, "hello");
}

TEST(ReadPrivmsg, WhatIsNotForUs) {
  EXPECT_FALSE(read(":bob!b@h PRIVMSG #room :hello all"));
  EXPECT_FALSE(read(":bob!b@h NOTICE talaria :hello"));
  EXPECT_FALSE(read(":bob!b@h PRIVMSG eve :talaria: hello"));
  EXPECT_FALSE(read(":bob!b@h PRIVMSG @#room :talaria: for operators"));
  EXPECT_FALSE(read(":irc.example PRIVMSG talaria :from a server"));
  EXPECT_FALSE(read(":talaria!t@h PRIVMSG talaria :my own echo"));
  EXPECT_FALSE(read("@bot :bob!b@h PRIVMSG talaria :from a bot"));
  EXPECT_FALSE(read(":bob!b@h PRIVMSG talaria :   "));
  EXPECT_FALSE(read(":bob!b@h PRIVMSG #room :talaria:"));
  EXPECT_FALSE(read(":bob!b@h PRIVMSG talaria"));
}

TEST(ReadPrivmsg, CtcpIsIgnoredButAnActionIsSpeech) {
  EXPECT_FALSE(read(":bob!b@h PRIVMSG talaria :\x01VERSION\x01"));
  EXPECT_FALSE(read(":bob!b@h PRIVMSG talaria :\x01"));
  EXPECT_FALSE(
      read(":bob!b@h PRIVMSG #room :\x01"
           "ACTION talaria: waves\x01"));
  EXPECT_EQ(read(":bob!b@h PRIVMSG talaria :\x01"
                 "ACTION waves\x01")
                ->text,
            "* bob waves");
  EXPECT_EQ(read(":bob!b@h PRIVMSG talaria :\x01"
                 "ACTION waves")
                ->text,
            "* bob waves");
}

}  // namespace
}  // namespace talaria::irc
