#include "channel/email/imap_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/email/smtp_reply.h"

namespace talaria::mail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ImapResponse parsed(std::string_view text) {
  auto response = parse_imap_response(text);
  EXPECT_TRUE(response) << response.error().what;
  return response.value_or(ImapResponse{});
}

TEST(ImapReader, StatusLines) {
  const auto response = parsed("* OK [UIDVALIDITY 12] all (well) {5}\r\n");
  EXPECT_EQ(response.tag, "*");
  EXPECT_EQ(response.word, "OK");
  EXPECT_EQ(response.code, "UIDVALIDITY 12");
  EXPECT_EQ(response.text, "all (well) {5}");
  EXPECT_EQ(parsed("t1 no really\r\n").word, "NO");
  EXPECT_EQ(parsed("+ idling\r\n").text, "idling");
  EXPECT_EQ(parsed("+\r\n").tag, "+");
}

TEST(ImapReader, Data) {
  const auto exists = parsed("* 23 EXISTS\r\n");
  EXPECT_EQ(exists.word, "EXISTS");
  EXPECT_EQ(exists.number, 23U);
  const auto search = parsed("* SEARCH 2 84 882\r\n");
  EXPECT_EQ(search.values.size(), 3U);
  EXPECT_TRUE(parsed("* SEARCH\r\n").values.empty());
  const auto fetch =
      parsed("* 1 FETCH (UID 4 FLAGS (\\Seen) X NIL Y \"a \\\"b\\\"\" BODY[HEADER.FIELDS (TO)] {4}\r\na)\r\n)\r\n");
  const auto& items = fetch.values.at(0).items;
  ASSERT_EQ(items.size(), 10U);
  EXPECT_EQ(items[3].items.at(0).text, "\\Seen");
  EXPECT_EQ(items[5].kind, ImapValue::Kind::nil);
  EXPECT_EQ(items[7].text, "a \"b\"");
  EXPECT_EQ(items[8].text, "BODY[HEADER.FIELDS (TO)]");
  EXPECT_EQ(items[9].text, "a)\r\n");
}

TEST(ImapReader, WholeResponsesHoweverTheBytesCome) {
  const std::string_view bytes = "* OK hi {3}\r\n* 1 FETCH (BODY[] {7}\r\n{3}\r\nab UID 9)\r\nt1 OK done\r\n";
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    ImapReader reader(1000);
    std::vector<std::string> words;
    for (std::size_t at = 0; at < bytes.size(); at += size) {
      reader.feed(bytes.substr(at, size));
      for (;;) {
        auto response = reader.next();
        ASSERT_TRUE(response) << response.error().what;
        if (!*response) break;
        words.push_back((*response)->word);
        if ((*response)->word == "FETCH") {
          EXPECT_EQ((*response)->values.at(0).items.at(1).text, "{3}\r\nab");
        }
      }
    }
    EXPECT_THAT(words, ElementsAre("OK", "FETCH", "OK")) << size;
    EXPECT_TRUE(reader.empty());
  }
}

TEST(ImapReader, IsBounded) {
  ImapReader large(1000);
  large.feed("* 1 FETCH (BODY[] {2000}\r\n");
  EXPECT_THAT(large.next().error().what, HasSubstr("too large"));
  ImapReader line(100'000'000);
  line.feed(std::string(2'000'000, 'x'));
  EXPECT_THAT(line.next().error().what, HasSubstr("too long"));
  std::string deep = "* X " + std::string(1000, '(') + "\r\n";
  EXPECT_FALSE(parse_imap_response(deep));
}

TEST(ImapReader, Nonsense) {
  for (const char* bad : {"\r\n", "* \r\n", "* X (a\r\n", "* X \"a\r\n", "* X )\r\n", "* X {9}\r\nab\r\n",
                          "* X {-1}\r\n\r\n", "* 1 \r\n"})
    EXPECT_FALSE(parse_imap_response(bad)) << bad;
}

TEST(SmtpReplies, OneAfterTheOther) {
  std::string input = "250-mx\r\n250-AUTH PLAIN\r\n250 OK\r\n354\r\n4";
  auto reply = take_smtp_reply(input);
  ASSERT_TRUE(reply && *reply);
  EXPECT_EQ((*reply)->code, 250);
  EXPECT_THAT((*reply)->lines, ElementsAre("mx", "AUTH PLAIN", "OK"));
  reply = take_smtp_reply(input);
  ASSERT_TRUE(reply && *reply);
  EXPECT_EQ((*reply)->code, 354);
  reply = take_smtp_reply(input);
  ASSERT_TRUE(reply);
  EXPECT_FALSE(*reply);
  EXPECT_EQ(input, "4");
}

TEST(SmtpReplies, Nonsense) {
  for (const char* bad : {"HTTP/1.1 200 OK\r\n", "250-a\r\n251 b\r\n", "99\r\n", "\r\n", "650 x\r\n"}) {
    std::string input = bad;
    EXPECT_FALSE(take_smtp_reply(input)) << bad;
  }
  std::string endless;
  for (int i = 0; i < 1000; ++i) endless += "250-x\r\n";
  EXPECT_FALSE(take_smtp_reply(endless));
  std::string line(10'000, '2');
  EXPECT_FALSE(take_smtp_reply(line));
}

}  // namespace
}  // namespace talaria::mail
