#include "channel/email/mailbox_reader.h"

#include <gmock/gmock.h>

#include "channel/email/email_test_support.h"

namespace talaria::mail::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class MailboxReaderTest : public EmailChannelTest {
 protected:
  MailboxReaderTest() { journal.cursors[cursor_name] = "v1 9 4 1000"; }

  // A connection on which these mails are found.
  Task<Peer> session(std::string uids = "5 6") {
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 7);
    co_await serve(peer, "UID SEARCH UID 5:6", {"* SEARCH " + uids});
    co_return peer;
  }
  static Task<> refuse(Peer& peer, int uid, std::string answer = "NO [UNAVAILABLE] later") {
    const auto tag = co_await command(peer, "UID FETCH " + std::to_string(uid) + " ");
    peer.send(tag + " " + answer);
  }
  Task<> until_read_up_to(int uid) {
    co_await journal.wait(
        [&, cursor = "v1 9 " + std::to_string(uid) + " 1000"] { return journal.cursors[cursor_name] == cursor; });
  }
};

TEST_F(MailboxReaderTest, AnOutageOfTheServerLosesNoMail) {
  play([&]() -> Task<> {
    for (const char* code : {"SERVERBUG", "UNAVAILABLE", "INUSE", "SERVERBUG", "UNAVAILABLE", "INUSE", "UNAVAILABLE"}) {
      auto peer = co_await session();
      co_await refuse(peer, 5, "NO [" + std::string(code) + "] later");
    }
    auto peer = co_await session();
    co_await give(peer, 5, mail("five"));
    co_await serve(peer, "UID STORE 5");
    co_await give(peer, 6, mail("six"));
    co_await serve(peer, "UID STORE 6");
    co_await until_read_up_to(6);
  });
  EXPECT_EQ(journal.events.size(), 2U);
  EXPECT_THAT(journal.skipped, IsEmpty());
}

TEST_F(MailboxReaderTest, AnOutageInWhichNoMailIsGivenLosesNone) {
  times.refusal.alone = Millis(0);
  play([&]() -> Task<> {
    for (int i = 1; i <= 8; ++i) {
      auto peer = co_await session();
      co_await refuse(peer, 5);
      if (i >= 5) co_await refuse(peer, 6);
    }
    // Back just now: the other one is given, and so is this one.
    auto peer = co_await session();
    co_await refuse(peer, 5);
    co_await give(peer, 6, mail("six"));
    co_await give(peer, 5, mail("five"));
    co_await serve(peer, "UID STORE 5");
    co_await give(peer, 6, mail("six"));
    co_await serve(peer, "UID STORE 6");
    co_await until_read_up_to(6);
  });
  EXPECT_EQ(journal.events.size(), 2U);
  EXPECT_THAT(journal.skipped, IsEmpty());
}

TEST_F(MailboxReaderTest, AMailThatAloneIsRefusedIsSkippedAndJournalledAsThat) {
  times.refusal.alone = Millis(30);
  play([&]() -> Task<> {
    for (int i = 1; i < 5; ++i) {
      auto peer = co_await session();
      co_await refuse(peer, 5);
    }
    co_await sleep_for(30ms);
    auto peer = co_await session();
    co_await refuse(peer, 5);
    co_await give(peer, 6, mail("six"));
    co_await refuse(peer, 5);
    co_await give(peer, 6, mail("six"));
    co_await serve(peer, "UID STORE 6");
    co_await until_read_up_to(6);
  });
  EXPECT_EQ(journal.events.size(), 1U);
  EXPECT_THAT(journal.skipped, ElementsAre(StartsWith("uid 9/5: ")));
  EXPECT_THAT(journal.skipped, ElementsAre(HasSubstr("UNAVAILABLE")));
}

TEST_F(MailboxReaderTest, AMailThatIsRefusedForHoursIsSkipped) {
  times.refusal.longest = Millis(30);
  play([&]() -> Task<> {
    {
      auto first = co_await session("5");
      co_await refuse(first, 5);
    }
    co_await sleep_for(30ms);  // all the time that it has, however slow this machine is
    auto peer = co_await session("5");
    co_await refuse(peer, 5);
    co_await until_read_up_to(6);
  });
  EXPECT_THAT(journal.skipped, ElementsAre(StartsWith("uid 9/5: ")));
}

TEST_F(MailboxReaderTest, AMailThatTheServerCantMakeSenseOfIsSkipped) {
  play([&]() -> Task<> {
    for (int i = 1; i <= 5; ++i) {
      auto peer = co_await session();
      co_await refuse(peer, 5, "BAD what");
    }
    auto peer = co_await imap.accept();
    co_await open(peer, 9, 7);
    co_await serve(peer, "UID SEARCH UID 6:6", {"* SEARCH 6"});
  });
  EXPECT_THAT(journal.skipped, ElementsAre(StartsWith("uid 9/5: ")));
}

TEST_F(MailboxReaderTest, AMailboxThatTakesNoFlagsIsReadAllTheSame) {
  play([&]() -> Task<> {
    auto peer = co_await session();
    for (const int uid : {5, 6}) {
      co_await give(peer, uid, mail(std::to_string(uid)));
      const auto tag = co_await command(peer, "UID STORE");
      peer.send(tag + " NO [READ-ONLY] it is");
    }
    std::string tag;
    co_await expect_idle(peer, tag);
    EXPECT_EQ(journal.cursors[cursor_name], "v1 9 6 1000");
  });
  EXPECT_EQ(journal.events.size(), 2U);
  EXPECT_THAT(journal.warnings, ElementsAre(HasSubstr("READ-ONLY")));
}

TEST_F(MailboxReaderTest, FilesOfAMailThatIsKnownAreNotKeptAgain) {
  journal.known = {"<known@example.org>"};
  config.email.answers_per_hour = 1;  // what was known does not count
  const std::string file =
      "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\nxyz\r\n--b--";
  play([&]() -> Task<> {
    auto peer = co_await session();
    co_await give(peer, 5, mail("known", file));
    co_await serve(peer, "UID STORE 5");
    EXPECT_EQ(journal.kept, 0);
    co_await give(peer, 6, mail("fresh", file));
    co_await serve(peer, "UID STORE 6");
  });
  EXPECT_EQ(journal.kept, 1);
  ASSERT_EQ(journal.events.size(), 1U);
}

}  // namespace
}  // namespace talaria::mail::test
