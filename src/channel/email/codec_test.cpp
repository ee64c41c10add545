#include "channel/email/codec.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "channel/text_split.h"

namespace talaria::mail {
namespace {

TEST(MailCodec, Base64) {
  EXPECT_EQ(decode_base64("aGVs\r\nbG8="), "hello");
  EXPECT_EQ(decode_base64("aGVsbG8"), "hello") << "padding is often missing";
  EXPECT_EQ(decode_base64("!!!!"), "");
  EXPECT_EQ(encode_base64("hello"), "aGVsbG8=");
}

TEST(MailCodec, QuotedPrintable) {
  EXPECT_EQ(decode_quoted_printable("f=C3=BCr dich=\r\n allein  \r\n=zz;="), "für dich allein\r\n=zz;");
  EXPECT_EQ(encode_quoted_printable("für\n. a \n"), "f=C3=BCr\r\n=2E a=20\r\n");
  EXPECT_EQ(encode_quoted_printable("From here"), "=46rom here");
}

RC_GTEST_PROP(MailCodec, WhatIsEncodedIsDecoded, (std::string bytes)) {
  RC_ASSERT(decode_base64(encode_base64(bytes)) == bytes);
  std::erase_if(bytes, [](char c) { return c == '\r'; });
  const std::string encoded = encode_quoted_printable(bytes);
  std::string decoded = decode_quoted_printable(encoded);
  std::erase(decoded, '\r');
  RC_ASSERT(decoded == bytes);
  for (std::size_t at = 0; at < encoded.size();) {
    const std::size_t end = std::min(encoded.find("\r\n", at), encoded.size());
    RC_ASSERT(end - at <= 76U);
    at = end + 2;
  }
}

TEST(MailCodec, CharacterSets) {
  EXPECT_EQ(to_utf8("f\xFCr", "ISO-8859-1"), "für");
  EXPECT_EQ(to_utf8("\x93quoted\x94", "iso-8859-1"), "“quoted”") << "Windows-1252 in disguise";
  EXPECT_EQ(to_utf8("f\xFCr", ""), "für") << "nothing said, and no UTF-8";
  EXPECT_EQ(to_utf8("für", "no-such-set"), "für");
  EXPECT_EQ(to_utf8("f\xC3\xBCr", "utf-8//TRANSLIT"), "für");
  EXPECT_EQ(to_utf8("\xFF", "utf-8"), "\xEF\xBF\xBD");
  EXPECT_EQ(to_utf8(std::string_view("a\0b", 3), "us-ascii"), "ab");
  EXPECT_EQ(to_utf8("\x1B$B$3$s\x1B(B", "ISO-2022-JP"), "こん");
}

RC_GTEST_PROP(MailCodec, TextIsAlwaysUtf8, (std::string bytes, std::string charset)) {
  const auto text = to_utf8(bytes, charset);
  RC_ASSERT(replace_invalid_utf8(text) == text);
}

}  // namespace
}  // namespace talaria::mail
