#include "channel/email/incoming.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <ctime>

#include "channel/email/composer.h"
#include "channel/email/loop_guard.h"

namespace talaria::mail {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

IncomingRules rules() {
  return {.channel = "mail",
          .own_address = "bot@example.org",
          .sender = {.verify = false, .trusted_authserv = {}, .allow = {"domain:example.org"}, .admins = {}}};
}

std::variant<Incoming, Skipped> read(std::string bytes) {
  const auto size = static_cast<std::int64_t>(bytes.size());
  return read_mail({.uid = 7, .bytes = std::move(bytes), .size = size, .received_at = 1000}, rules());
}
InboundEvent event_of(std::string bytes) {
  auto result = read(std::move(bytes));
  if (const auto* skipped = std::get_if<Skipped>(&result)) ADD_FAILURE() << skipped->why;
  return std::holds_alternative<Incoming>(result) ? std::get<Incoming>(result).event : InboundEvent{};
}

TEST(IncomingMail, StartsAThread) {
  const auto event = event_of(
      "From: Alice <Alice@example.org>\r\nMessage-ID: <1@example.org>\r\nSubject: Re: AW:  A "
      "=?utf-8?q?=C3=BC?=\r\n\r\nHow?\r\n-- \r\nA");
  EXPECT_EQ(event.message_id, "<1@example.org>");
  EXPECT_EQ(event.route.channel, "mail");
  EXPECT_EQ(event.route.conversation, "alice@example.org");
  EXPECT_EQ(event.route.thread, "<1@example.org>");
  EXPECT_EQ(event.sender.id, "address:alice@example.org");
  EXPECT_EQ(event.sender.name, "Alice");
  EXPECT_EQ(event.text, "A ü\n\nHow?");
  EXPECT_EQ(event.received_at, 1000);
  const auto answer = unpack(event.route.reply_to);
  EXPECT_EQ(answer.message_id, "<1@example.org>");
  EXPECT_EQ(answer.subject, "A ü");
  EXPECT_EQ(event_of("From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\n\nx").sender.name, "Jürgen");
  EXPECT_THAT(answer.references, ElementsAre("<1@example.org>"));
}

TEST(IncomingMail, GoesOnInAThread) {
  const auto event = event_of(
      "From: alice@example.org\nMessage-ID: <3@x>\nReferences: <1@x> <2@x>\nIn-Reply-To: <2@x>\nSubject: Re: s\n\n"
      "Go on\n\nOn Monday, Bot <bot@example.org> wrote:\n> old\n");
  EXPECT_EQ(event.route.thread, "<1@x>");
  EXPECT_EQ(event.text, "Go on");
  EXPECT_THAT(unpack(event.route.reply_to).references, ElementsAre("<1@x>", "<2@x>", "<3@x>"));
}

TEST(IncomingMail, ACommandHasNothingBeforeIt) {
  EXPECT_EQ(event_of("From: alice@example.org\nSubject: s\n\n/status\n").text, "/status");
}

TEST(IncomingMail, WithoutAMessageIdItsHeaderStandsForIt) {
  const auto one = event_of("From: alice@example.org\nSubject: a\n\nx");
  const auto two = event_of("From: alice@example.org\nSubject: b\n\nx");
  EXPECT_FALSE(one.message_id.empty());
  EXPECT_NE(one.message_id, two.message_id);
  EXPECT_EQ(one.message_id, event_of("From: alice@example.org\nSubject: a\n\nx").message_id);
}

TEST(IncomingMail, IsPassedOverWithAReason) {
  EXPECT_THAT(std::get<Skipped>(read("From: bob@evil.test\n\nx")).why, HasSubstr("not in allow"));
  EXPECT_THAT(std::get<Skipped>(read("From: alice@example.org\nAuto-Submitted: auto-replied\n\nx")).why,
              HasSubstr("Auto-Submitted"));
  EXPECT_THAT(std::get<Skipped>(read("From: alice@example.org\n\n")).why, HasSubstr("empty"));
}

TEST(IncomingMail, AHostileHeaderCostsNoMoreThanItsSize) {
  const auto time_of = [](const std::string& field, std::size_t size) {
    std::string mail = "From: alice@example.org\nSubject: ";
    while (mail.size() < size) mail += field;
    mail += "\n\nx";
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      const std::clock_t start = std::clock();
      (void)read(mail);
      best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return best;
  };
  for (const char* unit : {"re: ", "=?a?b", "Fwd:"}) {
    EXPECT_LT(time_of(unit, 200'000), 9 * time_of(unit, 50'000) + 0.005) << unit;
  }
}

TEST(IncomingMail, WhatWasCutSaysSo) {
  auto result =
      read_mail({.uid = 1, .bytes = "From: alice@example.org\n\nx", .size = 100'000'000, .received_at = 1}, rules());
  EXPECT_THAT(std::get<Incoming>(result).event.text, HasSubstr("was left out"));
}

// --- The answer

Reply answer_to(const InboundEvent& event, std::string text) {
  return {.outbox_id = 5, .route = event.route, .text = std::move(text)};
}
constexpr UnixMillis now = 1795276992000;
Composed composed(const Reply& reply, const std::vector<OutgoingFile>& files = {}) {
  return compose(reply, {.address = "bot@example.org", .name = "The \"Bot\"", .channel = "mail"}, files, "", now);
}

TEST(OutgoingMail, StaysInItsThread) {
  const auto event =
      event_of("From: alice@example.org\nMessage-ID: <3@x>\nReferences: <1@x>\nSubject: =?utf-8?q?=C3=BC?=\n\nx");
  const auto mail = composed(answer_to(event, "Für dich.\n.\n"));
  const Mail parsed = parse_mail(mail.bytes);
  EXPECT_EQ(parsed.header.get("In-Reply-To"), "<3@x>");
  EXPECT_EQ(parsed.header.get("References"), "<1@x> <3@x>");
  EXPECT_EQ(decode_words(parsed.header.get("Subject")), "Re: ü");
  EXPECT_EQ(parsed.header.get("To"), "<alice@example.org>");
  EXPECT_EQ(parsed.header.get("From"), "\"The \\\"Bot\\\"\" <bot@example.org>");
  EXPECT_EQ(parsed.header.get("Date"), "Sat, 21 Nov 2026 16:03:12 +0000");
  EXPECT_EQ(parsed.header.get("Message-ID"), mail.message_id);
  EXPECT_EQ(parsed.header.get("Auto-Submitted"), "auto-replied");
  EXPECT_EQ(parsed.text, "Für dich.\n.\n");
  EXPECT_TRUE(automatic(parsed.header, "other@example.org")) << "another gateway leaves it alone";
}

TEST(OutgoingMail, TheSameRowIsTheSameMail) {
  const auto event = event_of("From: alice@example.org\nMessage-ID: <3@x>\n\nx");
  Reply reply = answer_to(event, "a");
  const auto first = composed(reply).message_id;
  reply.may_be_repeat = true;
  EXPECT_EQ(composed(reply).message_id, first);
  reply.outbox_id = 6;
  EXPECT_NE(composed(reply).message_id, first);
  reply.outbox_id = 5;
  reply.text = "b";
  EXPECT_NE(composed(reply).message_id, first) << "another store, where the numbers began anew";
}

TEST(OutgoingMail, AMessageOfOurOwn) {
  const auto mail =
      composed({.outbox_id = 1, .route = {.channel = "mail", .conversation = "alice@example.org"}, .text = "x"});
  const Mail parsed = parse_mail(mail.bytes);
  EXPECT_EQ(parsed.header.get("Auto-Submitted"), "auto-generated");
  EXPECT_FALSE(parsed.header.has("In-Reply-To"));
  EXPECT_THAT(std::string(parsed.header.get("Subject")), StartsWith("A message from"));
}

TEST(OutgoingMail, Files) {
  const auto event = event_of("From: alice@example.org\n\nx");
  const auto mail =
      composed(answer_to(event, "see"), {{"a ü\".txt", "text/plain", std::string("a\0b", 3)},
                                         {"b\r\nBcc: x@y.z", "x/y\r\nBcc: x@y.z", std::string(100'000, 'x')}});
  const Mail parsed = parse_mail(mail.bytes);
  EXPECT_EQ(parsed.text, "see\n");
  ASSERT_EQ(parsed.files.size(), 2U);
  EXPECT_EQ(parsed.files[0].name, "a ü\".txt");
  EXPECT_EQ(parsed.files[0].bytes, std::string("a\0b", 3));
  EXPECT_EQ(parsed.files[1].bytes, std::string(100'000, 'x'));
  EXPECT_EQ(parsed.files[1].type, "application/octet-stream");
  EXPECT_THAT(mail.bytes, Not(HasSubstr("\nBcc")));
}

// Whatever people and agents write, the header has the fields that it should have, and lines are short.
RC_GTEST_PROP(OutgoingMail, NothingCanBeInjected, (std::string subject, std::string text, std::string id)) {
  const auto result = read("From: alice@example.org\nSubject: " + subject + "\nMessage-ID: " + id + "\n\nhello");
  Route route{.channel = "mail", .conversation = "alice@example.org", .thread = id, .reply_to = subject};
  if (const auto* in = std::get_if<Incoming>(&result)) route = in->event.route;
  const auto mail = composed({.outbox_id = 5, .route = route, .text = text});
  const std::string head = mail.bytes.substr(0, mail.bytes.find("\r\n\r\n") + 2);
  const std::set<std::string> known{"Date",
                                    "From",
                                    "To",
                                    "Subject",
                                    "Message-ID",
                                    "In-Reply-To",
                                    "References",
                                    "Auto-Submitted",
                                    "X-Auto-Response-Suppress",
                                    "X-Talaria-Loop",
                                    "User-Agent",
                                    "MIME-Version",
                                    "Content-Type",
                                    "Content-Transfer-Encoding"};
  std::string_view view = mail.bytes;
  for (const HeaderField& field : Header::take(view).fields()) RC_ASSERT(known.contains(field.name));
  for (std::size_t at = 0; at < mail.bytes.size();) {
    const std::size_t end = mail.bytes.find('\n', at);
    RC_ASSERT(end != std::string::npos && mail.bytes[end - 1] == '\r' && end - at <= 1000);
    at = end + 1;
  }
}

TEST(OutgoingMail, Addresses) {
  EXPECT_TRUE(is_address("alice+x@example.org"));
  for (const char* bad :
       {"", "alice", "a@b c", "a@b>\r\nRCPT TO:<x@y.z", "<a@b.c>", "a@b.c,d@e.f", "A <a@b.c>", "a@b.c\n"})
    EXPECT_FALSE(is_address(bad)) << bad;
}

}  // namespace
}  // namespace talaria::mail
