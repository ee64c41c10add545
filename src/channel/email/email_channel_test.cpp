#include "channel/email/email_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <set>

#include "channel/irc/scripted_server.h"
#include "runtime/task_group.h"

namespace talaria::mail {
namespace {

using namespace std::chrono_literals;
using Fate = DeliveryError::Fate;
using irc::test::Peer;
using irc::test::ScriptedServer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr UnixMillis start_time = 1'700'000'000'000;  // 2023-11-14

class FixedClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return start_time; }
};

class Journal final : public Inbox {
 public:
  explicit Journal(asio::any_io_executor executor) : changed(std::move(executor)) {}
  Task<Result<Accepted>> accept(InboundEvent event) override {
    ++offers;
    changed.pulse();
    if (refusal) co_return std::unexpected(*refusal);
    const bool duplicate = !known.insert(event.message_id).second;
    if (!duplicate) events.push_back(std::move(event));
    changed.pulse();
    co_return Accepted{duplicate};
  }
  Task<Result<Attachment>> keep(std::string name, std::string type, std::string bytes) override {
    if (bytes.size() > 1000) co_return fail(ErrorKind::limit, "too large");
    co_return Attachment{"/kept/" + name, name, type, static_cast<std::int64_t>(bytes.size())};
  }
  Task<Result<std::string>> cursor(std::string, std::string name) override { co_return cursors[name]; }
  Task<Result<>> set_cursor(std::string, std::string name, std::string value) override {
    cursors[name] = value;
    changed.pulse();
    co_return Result<>{};
  }
  void passed_over(std::string_view, std::string_view what) override { passed.emplace_back(what); }
  // Until `done` says so.
  template <class Done>
  Task<> wait(Done done) {
    const auto deadline = Deadline::in(5s);
    while (!done()) {
      if (!co_await changed.wait(deadline)) throw std::runtime_error("the journal waits in vain");
    }
  }

  std::vector<InboundEvent> events;
  std::set<std::string> known;
  std::map<std::string, std::string> cursors;
  std::vector<std::string> passed;
  std::optional<Error> refusal;
  int offers = 0;
  Event changed;
};

const std::string cursor_name = "imap bot@example.org INBOX";

class EmailChannelTest : public testing::Test {
 protected:
  EmailChannelTest() {
    config.name = "mail";
    config.kind = "email";
    config.allow = {"domain:example.org"};
    config.email.address = "bot@example.org";
    config.email.name = "Bot";
    config.email.login = "bot";
    config.email.verify = "none";
    config.email.imap = {"imap.example.org", 993};
    config.email.smtp = {"smtp.example.org", 25};
    config.email.smtp_tls = "none";
    config.email.poll = Millis(300);
    times.reconnect_first = Millis(2);
    times.reconnect_longest = Millis(20);
    times.lasting_first = times.lasting_longest = Millis(2);
    times.hold_first = times.hold_longest = Millis(2);
    times.smtp = {.connect = Millis(1000), .answer = Millis(1000), .final_answer = Millis(1000)};
  }

  // Runs the channel beside `body`, which plays the servers; the test fails on what `body` throws or after 20 s.
  template <class Body>
  void play(Body body) {
    auto dialer = [this](DialOptions options, Deadline deadline) {
      return (options.port == 25 ? smtp : imap).dialer()(std::move(options), deadline);
    };
    channel.emplace(config, "pass\"word", loop.get_executor(), clock, dialer, times);
    TaskGroup group(loop.get_executor(),
                    [](std::string_view task, std::string_view what) { ADD_FAILURE() << task << ": " << what; });
    bool done = false;
    std::exception_ptr failure;
    group.spawn("channel", channel->run(journal));
    asio::co_spawn(loop, body(), [&](std::exception_ptr e) {
      failure = e;
      done = true;
      group.cancel();
    });
    loop.run_for(20s);
    ASSERT_TRUE(done) << "the test's script did not end";
    if (failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& e) {
        FAIL() << e.what();
      }
    }
    EXPECT_EQ(group.size(), 0U) << "the channel did not end when cancelled";
  }

  // The client's next command, which must begin so; returns its tag.
  static Task<std::string> command(Peer& peer, std::string start) {
    const auto line = co_await peer.expect("t");
    const auto blank = line.find(' ');
    if (!line.substr(blank + 1).starts_with(start)) throw std::runtime_error("not " + start + " but: " + line);
    co_return line.substr(0, blank);
  }
  // Answers a command with these lines and OK.
  static Task<> serve(Peer& peer, std::string start, std::vector<std::string> lines = {}) {
    const auto tag = co_await command(peer, start);
    for (const auto& line : lines) peer.send(line);
    peer.send(tag + " OK done");
  }
  static Task<> log_in(Peer& peer, std::string capabilities = "IMAP4rev1 IDLE") {
    peer.send("* OK [CAPABILITY " + capabilities + "] hello");
    const auto tag = co_await command(peer, "LOGIN \"bot\" \"pass\\\"word\"");
    peer.send(tag + " OK [CAPABILITY " + capabilities + "] in");
  }
  static Task<> open(Peer& peer, int validity, int next) {
    co_await log_in(peer);
    co_await serve(peer, "SELECT \"INBOX\"",
                   {"* 3 EXISTS", "* OK [UIDVALIDITY " + std::to_string(validity) + "] x",
                    "* OK [UIDNEXT " + std::to_string(next) + "] x"});
  }
  static std::string mail(std::string id, std::string more = "") {
    return "From: Alice <alice@example.org>\r\nMessage-ID: <" + id + "@example.org>\r\n" + more +
           "Subject: s\r\n\r\ntext " + id + "\r\n";
  }
  static Task<> give(Peer& peer, int uid, std::string bytes, std::string date = "15-Nov-2023 10:00:00 +0000") {
    co_await serve(peer, "UID FETCH " + std::to_string(uid) + " ",
                   {"* 1 FETCH (UID " + std::to_string(uid) + " RFC822.SIZE " + std::to_string(bytes.size()) +
                        " INTERNALDATE \"" + date + "\" BODY[]<0> {" + std::to_string(bytes.size()) + "}",
                    bytes + ")"});
  }
  static Task<> expect_idle(Peer& peer, std::string& tag) {
    tag = co_await command(peer, "IDLE");
    peer.send("+ idling");
  }

  static Reply reply() {
    return {
        .outbox_id = 7, .route = {.channel = "mail", .conversation = "alice@example.org"}, .text = "hello\n.\nthere"};
  }
  struct Pending {
    explicit Pending(asio::any_io_executor executor) : done(std::move(executor)) {}
    Event done;
    std::optional<std::expected<Receipt, DeliveryError>> outcome;
    Task<Fate> fate() {
      if (!co_await done.wait(Deadline::in(5s))) throw std::runtime_error("delivery hangs");
      if (outcome->has_value()) throw std::runtime_error("delivered");
      co_return outcome->error().fate;
    }
  };
  std::shared_ptr<Pending> deliver(Reply what) {
    auto pending = std::make_shared<Pending>(loop.get_executor());
    asio::co_spawn(
        loop,
        [](EmailChannel& c, Reply r, std::shared_ptr<Pending> p) -> Task<> {
          p->outcome = co_await c.deliver(std::move(r));
          p->done.set();
        }(*channel, std::move(what), pending),
        asio::detached);
    return pending;
  }
  // An SMTP server up to the answer to `last`, which is this one.
  static Task<> smtp_until(Peer& peer, std::string last, std::string answer) {
    peer.send("220 mx");
    for (const std::string word : {"EHLO", "MAIL FROM:<bot@example.org>", "RCPT TO:<alice@example.org>", "DATA"}) {
      co_await peer.expect(word);
      if (word.starts_with(last)) {
        if (!answer.empty()) peer.send(answer);
        co_return;
      }
      peer.send(word == "DATA" ? "354 go on" : word == "EHLO" ? "250-mx\r\n250 8BITMIME" : "250 fine");
    }
    co_await peer.expect(".");
  }

  asio::io_context loop;
  FixedClock clock;
  ChannelConfig config;
  EmailTimes times;
  ScriptedServer imap{loop.get_executor()};
  ScriptedServer smtp{loop.get_executor()};
  Journal journal{loop.get_executor()};
  std::optional<EmailChannel> channel;
};

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
}  // namespace talaria::mail
