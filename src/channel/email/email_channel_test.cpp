#include "channel/email/email_channel.h"

#include <gmock/gmock.h>

#include "channel/email/email_test_support.h"

namespace talaria::mail::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

TEST_F(EmailChannelTest, TheFirstStartLeavesWhatWasThere) {
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 5);
    co_await serve(peer, "UID SEARCH UID 5:*", {"* SEARCH 4"});  // "5:*" is the last one where there is no fifth
    std::string tag;
    co_await expect_idle(peer, tag);
    EXPECT_EQ(journal.cursors[cursor_name], "v1 9 4 1700000000000");
    EXPECT_EQ(channel->health().state, ChannelState::up);
    peer.send("* 4 EXISTS");
    co_await peer.expect("DONE");
    peer.send(tag + " OK idled");
    co_await serve(peer, "UID SEARCH UID 5:*", {"* SEARCH 6 5"});
    co_await give(peer, 5, mail("five"));
    EXPECT_THAT(co_await command(peer, "UID STORE 5 +FLAGS.SILENT (\\Seen)"), Not(IsEmpty()));
    EXPECT_EQ(journal.events.size(), 1U) << "seen only when the journal has it";
    EXPECT_THAT(journal.cursors[cursor_name], StartsWith("v1 9 4 ")) << "nor the cursor before";
  });
  ASSERT_EQ(journal.events.size(), 1U);
  EXPECT_EQ(journal.events[0].text, "s\n\ntext five");
}

TEST_F(EmailChannelTest, WhatCameMeanwhileIsRead) {
  journal.cursors[cursor_name] = "v1 9 4 1000";
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 7);
    co_await serve(peer, "UID SEARCH UID 5:6", {"* SEARCH 5 6"});
    co_await give(peer, 5, mail("five"));
    co_await serve(peer, "UID STORE 5");
    co_await give(peer, 6, mail("six", "Auto-Submitted: auto-replied\r\n"));
    std::string tag;
    co_await expect_idle(peer, tag);
    EXPECT_EQ(journal.cursors[cursor_name], "v1 9 6 1000");
  });
  EXPECT_EQ(journal.events.size(), 1U);
  EXPECT_THAT(journal.passed, ElementsAre(HasSubstr("Auto-Submitted")));
}

TEST_F(EmailChannelTest, AMailThatTheJournalCantTakeIsHeldAndOfferedAgain) {
  journal.cursors[cursor_name] = "v1 9 4 1000";
  journal.refusal = Error{ErrorKind::unavailable, "disk full"};
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 6);
    co_await serve(peer, "UID SEARCH UID 5:5", {"* SEARCH 5"});
    co_await give(peer, 5, mail("five"));
    co_await journal.wait([&] { return journal.offers > 3; });
    EXPECT_EQ(journal.cursors[cursor_name], "v1 9 4 1000");
    journal.refusal.reset();
    co_await serve(peer, "UID STORE 5");
    co_await journal.wait([&] { return journal.cursors[cursor_name] == "v1 9 5 1000"; });
  });
  EXPECT_EQ(journal.events.size(), 1U);
}

TEST_F(EmailChannelTest, NewNumbersAreReadAgainAndRecognised) {
  journal.cursors[cursor_name] = "v1 9 40 1700000000000";
  journal.known = {"<known@example.org>"};
  config.email.answers_per_hour = 1;  // what was known does not count
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 10, 5);
    co_await serve(peer, "UID SEARCH UID 1:4 SINCE 13-Nov-2023", {"* SEARCH 1 2 3 4"});
    co_await give(peer, 1, mail("before"), "14-Nov-2023 10:00:00 +0000");
    co_await give(peer, 2, mail("copied", "Date: Tue, 1 Aug 2023 10:00:00 +0000\r\n"));
    co_await give(peer, 3, mail("known"));
    co_await serve(peer, "UID STORE 3");
    co_await give(peer, 4, mail("fresh"));
    co_await serve(peer, "UID STORE 4");
    co_await journal.wait([&] { return journal.cursors[cursor_name] == "v1 10 4 1700000000000"; });
  });
  ASSERT_EQ(journal.events.size(), 1U);
  EXPECT_EQ(journal.events[0].message_id, "<fresh@example.org>");
}

TEST_F(EmailChannelTest, FilesAreKeptAndLargeOnesNamed) {
  journal.cursors[cursor_name] = "v1 9 4 1000";
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 6);
    co_await serve(peer, "UID SEARCH", {"* SEARCH 5"});
    const std::string part = "\r\n--b\r\nContent-Type: a/b; name=";
    co_await give(peer, 5,
                  "From: alice@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nsee" + part +
                      "small\r\n\r\nxyz" + part + "large\r\n\r\n" + std::string(2000, 'x') + "\r\n--b--\r\n");
    co_await command(peer, "UID STORE 5");
  });
  ASSERT_EQ(journal.events.size(), 1U);
  EXPECT_THAT(journal.events[0].attachments, ElementsAre(Attachment{"/kept/small", "small", "a/b", 3}));
  EXPECT_EQ(journal.events[0].text, "see\n\n(The attached file large was left out: it is too large.)");
}

TEST_F(EmailChannelTest, ADeafServerIsNoticedAndReplaced) {
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 5);
    co_await serve(peer, "UID SEARCH");
    std::string tag;
    co_await expect_idle(peer, tag);
    const auto deaf_since = SteadyClock::now();
    co_await peer.expect("DONE");  // unanswered
    auto again = co_await imap.accept();
    EXPECT_LE(SteadyClock::now() - deaf_since, 2 * config.email.poll + 100ms);
    EXPECT_EQ(channel->health().state, ChannelState::down);
    EXPECT_THAT(channel->health().error, HasSubstr("imap.example.org:993: "));
    co_await open(again, 9, 5);
  });
}

TEST_F(EmailChannelTest, ALivingServerIsKept) {
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 5);
    co_await serve(peer, "UID SEARCH");
    for (int i = 0; i < 3; ++i) {
      std::string tag;
      co_await expect_idle(peer, tag);
      co_await peer.expect("DONE");
      peer.send(tag + " OK idled");
    }
  });
  EXPECT_EQ(imap.dials, 1);
}

TEST_F(EmailChannelTest, TheNetworkIsBackEndsAWait) {
  config.email.poll = Millis(1'000'000);
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 5);
    co_await serve(peer, "UID SEARCH");
    std::string tag;
    co_await expect_idle(peer, tag);
    co_await sleep_for(10ms);
    channel->network_is_back();
    co_await peer.expect("DONE");
    peer.send(tag + " OK idled");
    co_await expect_idle(peer, tag);
  });
}

TEST_F(EmailChannelTest, WithoutIdleTheServerIsAsked) {
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    co_await log_in(peer, "IMAP4rev1");
    co_await serve(peer, "SELECT", {"* OK [UIDVALIDITY 9] x", "* OK [UIDNEXT 5] x"});
    co_await serve(peer, "UID SEARCH");
    co_await serve(peer, "NOOP");
    co_await serve(peer, "NOOP", {"* 5 EXISTS"});
    co_await serve(peer, "UID SEARCH UID 5:*", {"* SEARCH 5"});
    co_await give(peer, 5, mail("five"));
    co_await command(peer, "UID STORE 5");
  });
}

TEST_F(EmailChannelTest, ARefusedLoginIsToldWithoutThePassword) {
  play([&]() -> Task<> {
    for (int i = 0; i < 2; ++i) {
      auto peer = co_await imap.accept();
      peer.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello");
      const auto tag = co_await command(peer, "AUTHENTICATE PLAIN AGJvdABwYXNzIndvcmQ=");
      peer.send(tag + " NO [AUTHENTICATIONFAILED] wrong");
    }
    co_await imap.accept();
  });
  EXPECT_EQ(channel->account(), "bot@example.org INBOX");
}

TEST_F(EmailChannelTest, WhatIsSaidBetweenStarttlsAndTlsIsRefused) {
  config.email.imap_tls = "starttls";
  play([&]() -> Task<> {
    auto peer = co_await imap.accept();
    peer.send("* OK hello");
    const auto tag = co_await command(peer, "STARTTLS");
    peer.send(tag + " OK go on\r\n* CAPABILITY IMAP4rev1");
    co_await imap.accept();
    EXPECT_THAT(channel->health().error, HasSubstr("between STARTTLS and TLS"));
    EXPECT_THAT(peer.seen, Not(HasSubstr("LOGIN")));
  });
}

TEST(SmtpContent, DotsAreDoubled) {
  EXPECT_EQ(stuffed(".a\r\n..\r\nb."), "..a\r\n...\r\nb.\r\n");
  EXPECT_EQ(stuffed(""), "\r\n");
}

TEST_F(EmailChannelTest, AnAnswerIsSent) {
  play([&]() -> Task<> {
    const auto pending = deliver(reply());
    auto peer = co_await smtp.accept();
    co_await smtp_until(peer, "nothing", "");
    peer.send("250 queued");
    co_await peer.expect("QUIT");
    EXPECT_THAT(peer.seen, HasSubstr("\nhello\n=2E\nthere\n"));
    if (!co_await pending->done.wait(Deadline::in(5s))) throw std::runtime_error("delivery hangs");
    EXPECT_TRUE(pending->outcome->has_value());
    EXPECT_THAT(pending->outcome->value().platform_id, StartsWith("<talaria."));
  });
}

TEST_F(EmailChannelTest, WhatAFailureMeans) {
  struct Case {
    std::string last, answer;
    Fate fate;
  };
  const Case cases[] = {
      {"EHLO", "554 no", Fate::retry},
      {"MAIL FROM", "451 later", Fate::retry},
      {"MAIL FROM", "530 log in", Fate::retry},
      {"MAIL FROM", "550 you", Fate::dead},
      {"RCPT TO", "550 nobody", Fate::dead},
      {"RCPT TO", "450 full", Fate::retry},
      {"DATA", "421 bye", Fate::retry},
      {"RCPT TO", "", Fate::retry},
      {"DATA", "", Fate::retry},
      {"dot", "451 later", Fate::retry},
      {"dot", "552 large", Fate::dead},
      {"dot", "", Fate::unknown},
  };
  play([&]() -> Task<> {
    for (const Case& c : cases) {
      const auto pending = deliver(reply());
      auto peer = co_await smtp.accept();
      co_await smtp_until(peer, c.last, c.answer);
      if (c.last == "dot" && !c.answer.empty()) peer.send(c.answer);
      if (c.answer.empty()) peer.drop();
      EXPECT_EQ(co_await pending->fate(), c.fate) << c.last << " " << c.answer;
    }
    smtp.refuse = true;
    const auto pending = deliver(reply());
    EXPECT_EQ(co_await pending->fate(), Fate::retry);
    Reply nobody = reply();
    nobody.route.conversation = "a@b.c> x";
    EXPECT_EQ(co_await deliver(nobody)->fate(), Fate::dead);
    nobody.route.conversation = "Bot@example.org";
    EXPECT_EQ(co_await deliver(nobody)->fate(), Fate::dead) << "our own address";
  });
}

}  // namespace
}  // namespace talaria::mail::test
