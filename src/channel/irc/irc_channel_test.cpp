#include "channel/irc/irc_channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <set>

#include "channel/irc/message.h"
#include "channel/irc/scripted_server.h"
#include "runtime/task_group.h"

namespace talaria::irc {
namespace {

using namespace std::chrono_literals;
using Fate = DeliveryError::Fate;
using test::Peer;
using test::ScriptedServer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class FixedClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return 1'700'000'000'000; }
};

// Journals in memory; may refuse for a while.
class Journal final : public Inbox {
 public:
  explicit Journal(asio::any_io_executor executor) : changed(std::move(executor)) {}
  Task<Result<Accepted>> accept(InboundEvent event) override {
    ++offers;
    changed.pulse();
    if (refusal) co_return std::unexpected(*refusal);
    events.push_back(std::move(event));
    changed.pulse();
    co_return Accepted{};
  }
  Task<> wait_for(std::size_t n) {
    const auto deadline = Deadline::in(5s);
    while (events.size() < n) {
      if (!co_await changed.wait(deadline)) throw std::runtime_error("not journalled");
    }
  }
  std::vector<InboundEvent> events;
  std::optional<Error> refusal;
  int offers = 0;
  Event changed;
};

class IrcChannelTest : public testing::Test {
 protected:
  IrcChannelTest() {
    config.name = "net";
    config.kind = "irc";
    config.allow = {"*"};
    config.irc.host = "irc.example";
    config.irc.nick = "talaria";
    config.irc.join = {"#room"};
    config.irc.lines_per_second = 1000;
    config.irc.burst = 1000;
    times.reconnect_first = Millis(2);
    times.reconnect_longest = Millis(20);
    times.lasting_first = Millis(2);
    times.lasting_longest = Millis(20);
    times.wait_for_up = Millis(2'000);
  }

  // Runs the channel beside `body`, which plays the server; the test fails on what `body` throws or after 20 s.
  template <class Body>
  void play(Body body) {
    channel.emplace(config, secrets, loop.get_executor(), clock, server.dialer(), times);
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

  static Reply reply_to(std::string conversation, std::string text) {
    return {.outbox_id = 7,
            .route = {.channel = "net", .conversation = std::move(conversation), .thread = {}, .reply_to = {}},
            .text = std::move(text)};
  }
  // Delivers beside the script; `outcome` is filled when it ends.
  struct Pending {
    explicit Pending(asio::any_io_executor executor) : done(std::move(executor)) {}
    Event done;
    std::optional<std::expected<Receipt, DeliveryError>> outcome;
    Task<Fate> fate() {
      if (!co_await done.wait(Deadline::in(5s))) throw std::runtime_error("delivery hangs");
      if (outcome->has_value()) throw std::runtime_error("delivered");
      co_return outcome->error().fate;
    }
    Task<> delivered() {
      if (!co_await done.wait(Deadline::in(5s))) throw std::runtime_error("delivery hangs");
      if (!outcome->has_value()) throw std::runtime_error(outcome->error().what);
    }
  };
  std::shared_ptr<Pending> deliver(Reply reply) {
    auto pending = std::make_shared<Pending>(loop.get_executor());
    asio::co_spawn(
        loop,
        [](IrcChannel& c, Reply r, std::shared_ptr<Pending> p) -> Task<> {
          p->outcome = co_await c.deliver(std::move(r));
          p->done.set();
        }(*channel, std::move(reply), pending),
        [](std::exception_ptr) {});
    return pending;
  }
  Task<> joined(Peer& peer) {
    co_await peer.welcome("talaria");
    co_await peer.expect("JOIN #room");
    peer.send(":talaria!~talaria@gw.example JOIN #room");
  }
  Task<> wait_state(ChannelState state) {
    const auto deadline = Deadline::in(5s);
    while (channel->health().state != state) {
      if (!co_await channel->changed().wait(deadline))
        throw std::runtime_error("state not reached: " + channel->health().error);
    }
  }

  asio::io_context loop{1};
  FixedClock clock;
  ScriptedServer server{loop.get_executor()};
  Journal journal{loop.get_executor()};
  ChannelConfig config;
  IrcSecrets secrets;
  IrcTimes times;
  std::optional<IrcChannel> channel;
};

TEST_F(IrcChannelTest, AConversation) {
  play([&]() -> Task<> {
    EXPECT_EQ(channel->health().state, ChannelState::connecting);
    auto peer = co_await server.accept();
    co_await joined(peer);
    peer.send(":bob!b@h PRIVMSG talaria :hello");
    peer.send(":bob!b@h PRIVMSG #room :talaria: and here");
    co_await journal.wait_for(2);
    EXPECT_EQ(channel->health().state, ChannelState::up);
    EXPECT_TRUE(channel->health().last_progress);
    EXPECT_EQ(journal.events[0].text, "hello");
    EXPECT_EQ(journal.events[0].received_at, clock.now());
    EXPECT_NE(journal.events[0].message_id, journal.events[1].message_id);

    Reply direct{.outbox_id = 1, .route = journal.events[0].route, .text = "hi\nbob"};
    auto pending = deliver(direct);
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG bob :hi");
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG bob :bob");
    co_await peer.answer_ping("talaria-1-");
    co_await pending->delivered();

    Reply room{.outbox_id = 2, .route = journal.events[1].route, .text = "hi", .may_be_repeat = true};
    pending = deliver(room);
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG #room :bob: (may be a repeat) hi");
    co_await peer.answer_ping("talaria-2-");
    co_await pending->delivered();
  });
}

TEST_F(IrcChannelTest, ALongAnswerFitsEvenWhenRelayed) {
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    std::string text;
    while (text.size() < 3000) text += "wörd👩‍👩‍👧 ";
    auto pending = deliver(reply_to("bob", text));
    std::string joined_text;
    for (;;) {
      const auto line = co_await peer.expect("P");
      if (line.starts_with("PING :talaria-7")) {
        peer.send(":s PONG s :" + line.substr(6));
        break;
      }
      if (!line.starts_with("PRIVMSG bob :")) continue;
      EXPECT_LE((":talaria!~talaria@gw.example " + line + "\r\n").size(), kMaxLine);
      EXPECT_TRUE(parse_message(line));
      joined_text += line.substr(std::string_view("PRIVMSG bob :").size());
    }
    co_await pending->delivered();
    EXPECT_EQ(joined_text, text);
  });
}

TEST_F(IrcChannelTest, AFileThatCannotBeSentIsNamed) {
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    Reply reply = reply_to("bob", "here");
    reply.attachments = {{.path = "/k/1", .name = "a.txt"}, {.path = "/k/2", .name = "b.txt"}};
    auto pending = deliver(reply);
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG bob :here");
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG bob :(file a.txt can't be sent on IRC)");
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG bob :(file b.txt can't be sent on IRC)");
    co_await peer.answer_ping("talaria-7-");
    co_await pending->delivered();

    reply.text.clear();
    reply.attachments.pop_back();
    pending = deliver(reply);
    EXPECT_EQ(co_await peer.expect("PRIVMSG"), "PRIVMSG bob :(file a.txt can't be sent on IRC)");
    co_await peer.answer_ping("talaria-7-");
    co_await pending->delivered();
  });
}

TEST_F(IrcChannelTest, SaslPlainOverTheWire) {
  config.irc.sasl_account = "bot";
  secrets.sasl_password = "secret";
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await peer.expect("CAP LS 302");
    peer.send("CAP * LS :sasl=PLAIN account-tag");
    co_await peer.expect("CAP REQ :account-tag sasl");
    peer.send("CAP * ACK :account-tag sasl");
    co_await peer.expect("AUTHENTICATE PLAIN");
    peer.send("AUTHENTICATE +");
    co_await peer.expect("AUTHENTICATE Ym90AGJvdABzZWNyZXQ=");
    peer.send(":s 903 talaria :ok");
    co_await peer.expect("CAP END");
    peer.send(":s 001 talaria :Welcome");
    peer.send(":s 422 talaria :No MOTD");
    co_await wait_state(ChannelState::up);
  });
}

TEST_F(IrcChannelTest, RefusedSaslIsDownWithAReasonAndTriedAgainMuchLater) {
  config.irc.sasl_account = "bot";
  secrets.sasl_password = "wrong";
  times.lasting_first = Millis(600'000);
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await peer.expect("CAP LS 302");
    peer.send("CAP * LS :sasl");
    co_await peer.expect("CAP REQ sasl");
    peer.send("CAP * ACK :sasl");
    co_await peer.expect("AUTHENTICATE PLAIN");
    peer.send("AUTHENTICATE +");
    co_await peer.expect("AUTHENTICATE ");
    peer.send(":s 904 talaria :SASL authentication failed");
    co_await wait_state(ChannelState::down);
    EXPECT_THAT(channel->health().error, HasSubstr("sasl_password"));
    EXPECT_TRUE(peer.closed());
    // With the short delay of 2 ms there would be many by now.
    co_await sleep_for(200ms);
    EXPECT_EQ(server.dials, 1);
  });
}

TEST_F(IrcChannelTest, ReconnectsForEver) {
  server.refuse = true;
  play([&]() -> Task<> {
    while (server.dials < 5) co_await sleep_for(1ms);
    EXPECT_EQ(channel->health().state, ChannelState::down);
    EXPECT_THAT(channel->health().error, HasSubstr("irc.example"));
    EXPECT_THAT(channel->health().error, HasSubstr("refused"));
    server.refuse = false;
    for (int i = 0; i < 3; ++i) {
      auto peer = co_await server.accept();
      co_await joined(peer);
      co_await wait_state(ChannelState::up);
      EXPECT_EQ(channel->health().error, "");
      peer.drop();
      co_await wait_state(ChannelState::down);
    }
  });
}

TEST_F(IrcChannelTest, ABreakBetweenLineAndReceiptIsUnknown) {
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    auto pending = deliver(reply_to("bob", "hello"));
    co_await peer.expect("PRIVMSG bob :hello");
    peer.drop();
    EXPECT_EQ(co_await pending->fate(), Fate::unknown);
  });
}

TEST_F(IrcChannelTest, ALineThatWasBeingWrittenIsUnknown) {
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    co_await wait_state(ChannelState::up);
    while (peer.unread() > 0) co_await sleep_for(1ms);
    peer.block();
    auto pending = deliver(reply_to("bob", "hello"));
    co_await sleep_for(20ms);
    EXPECT_FALSE(pending->done.is_set());
    peer.drop();
    EXPECT_EQ(co_await pending->fate(), Fate::unknown);
  });
}

TEST_F(IrcChannelTest, WhatWaitsForTheFloodLimitGoesBackWhole) {
  config.irc.lines_per_second = 0.01;
  config.irc.burst = 1;
  config.irc.join.clear();
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await peer.welcome("talaria");
    co_await wait_state(ChannelState::up);
    auto pending = deliver(reply_to("bob", "hello"));
    co_await sleep_for(20ms);
    peer.drop();
    EXPECT_EQ(co_await pending->fate(), Fate::retry);
  });
}

TEST_F(IrcChannelTest, ADeliveryWaitsForTheConnection) {
  play([&]() -> Task<> {
    auto pending = deliver(reply_to("#room", "hello"));
    auto peer = co_await server.accept();
    co_await peer.welcome("talaria");
    co_await peer.expect("JOIN #room");
    EXPECT_FALSE(pending->done.is_set());
    peer.send(":talaria!t@h JOIN #room");
    co_await peer.expect("PRIVMSG #room :hello");
    co_await peer.answer_ping("talaria-7-");
    co_await pending->delivered();
  });
}

TEST_F(IrcChannelTest, ADeliveryGivesUpWaiting) {
  server.refuse = true;
  times.wait_for_up = Millis(30);
  play([&]() -> Task<> {
    auto pending = deliver(reply_to("bob", "hello"));
    EXPECT_EQ(co_await pending->fate(), Fate::retry);
    EXPECT_THAT(pending->outcome->error().what, HasSubstr("not connected"));
  });
}

TEST_F(IrcChannelTest, NoSuchNickIsDead) {
  times.session.settle = Millis(0);
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    auto pending = deliver(reply_to("gone", "hello"));
    co_await peer.expect("PRIVMSG gone");
    peer.send(":s 401 talaria gone :No such nick/channel");
    co_await peer.answer_ping("talaria-7-");
    EXPECT_EQ(co_await pending->fate(), Fate::dead);
    EXPECT_THAT(pending->outcome->error().what, HasSubstr("No such nick"));
  });
}

TEST_F(IrcChannelTest, ATargetThatIsNoneNeverReachesTheServer) {
  play([&]() -> Task<> {
    for (const auto* target : {"", "a b", "a,b", "$*", ":x", "a\r\nQUIT", "a\x07"}) {
      auto pending = deliver(reply_to(target, "hello"));
      EXPECT_EQ(co_await pending->fate(), Fate::dead) << target;
    }
  });
}

TEST_F(IrcChannelTest, ASilentServerIsLeftAndItsReceiptUnknown) {
  times.session.ping_answer = Millis(30);
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    auto pending = deliver(reply_to("bob", "hello"));
    EXPECT_EQ(co_await pending->fate(), Fate::unknown);
    EXPECT_THAT(pending->outcome->error().what, HasSubstr("PING"));
    (void)co_await server.accept();
  });
}

TEST_F(IrcChannelTest, AMessageTheGatewayCantTakeIsHeldAndOfferedAgain) {
  journal.refusal = Error{ErrorKind::unavailable, "disk full"};
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    peer.send(":bob!b@h PRIVMSG talaria :one");
    peer.send(":bob!b@h PRIVMSG talaria :two");
    while (journal.offers < 2) co_await journal.changed.wait(Deadline::in(5s));
    peer.drop();  // what is held outlives the connection
    journal.refusal.reset();
    co_await journal.wait_for(2);
    EXPECT_EQ(journal.events[0].text, "one");
    EXPECT_EQ(journal.events[1].text, "two");
  });
}

TEST_F(IrcChannelTest, AFullQueuePushesBackAndLosesNothing) {
  journal.refusal = Error{ErrorKind::unavailable, "disk full"};
  times.session.ping_every = Millis(20);
  times.session.ping_answer = Millis(20);
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    for (int i = 0; i < 3000; ++i) peer.send(fmt::format(":bob!b@h PRIVMSG talaria :message {}", i));
    // It stops reading, and does not take the server for deaf meanwhile.
    for (std::size_t before = 1; before != peer.read_by_client(); co_await sleep_for(100ms))
      before = peer.read_by_client();
    EXPECT_GT(peer.unread(), 0U);
    EXPECT_FALSE(peer.closed());
    journal.refusal.reset();
    co_await journal.wait_for(3000);
    std::set<std::string> ids;
    for (std::size_t i = 0; i < 3000; ++i) {
      EXPECT_EQ(journal.events[i].text, fmt::format("message {}", i));
      ids.insert(journal.events[i].message_id);
    }
    EXPECT_EQ(ids.size(), 3000U);
  });
}

TEST_F(IrcChannelTest, AnInvalidMessageHoldsUpNobody) {
  journal.refusal = Error{ErrorKind::invalid, "no"};
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    peer.send(":bob!b@h PRIVMSG talaria :bad");
    while (journal.offers < 1) co_await journal.changed.wait(Deadline::in(5s));
    journal.refusal.reset();
    peer.send(":bob!b@h PRIVMSG talaria :good");
    co_await journal.wait_for(1);
    EXPECT_EQ(journal.events[0].text, "good");
  });
}

TEST_F(IrcChannelTest, AnEndlessLineIsPassedOver) {
  play([&]() -> Task<> {
    auto peer = co_await server.accept();
    co_await joined(peer);
    // Its end, taken for a line, would be a message: the reader gives up every third piece of 8192 bytes.
    std::string endless;
    while (endless.size() < 40 * 3 * 8192 + 320) endless += ":bob!b@h PRIVMSG talaria :evil  ";
    while (peer.unread() > 0) co_await sleep_for(1ms);
    peer.send(endless);
    peer.send(":bob!b@h PRIVMSG talaria :after");
    co_await journal.wait_for(1);
    EXPECT_EQ(journal.events[0].text, "after");
  });
}

}  // namespace
}  // namespace talaria::irc
