#include "channel/irc/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace talaria::irc {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

UnixMillis at(std::string_view time) { return *Message{.tags = {{"time", std::string(time)}}}.time(); }

class SetClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return time; }
  UnixMillis time = at("2026-03-01T12:00:00Z");
};

class SessionTest : public testing::Test {
 protected:
  static SessionSettings settings(std::vector<std::string> allow = {"*"}, std::vector<std::string> join = {"#Room"}) {
    return {.channel = "net",
            .login = {.nick = "talaria"},
            .join = std::move(join),
            .allow = AllowList(std::move(allow)),
            .times = {}};
  }
  void begin(SessionSettings s) {
    session.emplace(
        std::move(s), clock, outgoing, [this](InboundEvent e) { events.push_back(std::move(e)); },
        [this] { return "id" + std::to_string(++ids); });
    session->start(now);
    take();
  }
  // Until the end of the greeting; `caps`: all acknowledged.
  void log_in(const std::string& caps = "") {
    say("CAP * LS :" + caps);
    if (!caps.empty()) say("CAP * ACK :" + caps);
    say(":s 001 talaria :Welcome");
    say(":s 005 talaria CASEMAPPING=rfc1459 WHOX BOT=B :are supported");
    say(":s 376 talaria :End of MOTD");
    greeting = take();
  }
  void say(std::string_view line) { session->on_line(line, now); }
  std::vector<std::string> take() {
    std::vector<std::string> lines;
    now += 10s;  // the flood limit is tested elsewhere
    while (auto bytes = outgoing.take(now)) {
      for (std::string_view rest = *bytes; !rest.empty();) {
        const auto end = rest.find("\r\n");
        lines.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end + 2);
      }
    }
    return lines;
  }
  std::vector<std::string> texts() {
    std::vector<std::string> out;
    for (const auto& event : std::exchange(events, {})) out.push_back(event.text);
    return out;
  }

  asio::io_context loop;
  SetClock clock;
  Outgoing outgoing{loop.get_executor(), 100.0, 100};
  std::optional<Session> session;
  std::vector<InboundEvent> events;
  std::vector<std::string> greeting;
  int ids = 0;
  Session::Time now = Session::Time{} + 1h;
};

TEST_F(SessionTest, IsUpAfterTheGreetingAndJoins) {
  begin(settings());
  say("PING :cookie");
  EXPECT_THAT(take(), ElementsAre("PONG cookie"));  // some servers ask before they greet
  EXPECT_FALSE(session->up());
  log_in();
  EXPECT_TRUE(session->up());
  EXPECT_THAT(greeting, Contains("MODE talaria +B"));
  EXPECT_THAT(greeting, Contains("JOIN #Room"));
  EXPECT_TRUE(session->can_send_to("bob"));
  EXPECT_FALSE(session->can_send_to("#room"));
  say(":talaria!~t@gw.example JOIN #room");
  EXPECT_TRUE(session->can_send_to("#ROOM"));
  EXPECT_EQ(session->source_bytes(), std::string_view("talaria!~t@gw.example").size());
}

TEST_F(SessionTest, AServerWithoutMotdIsReadyWithThePong) {
  begin(settings());
  say(":s 001 talaria :Welcome");
  EXPECT_THAT(take(), Contains("PING talaria-ready"));
  say(":s PONG s :talaria-ready");
  EXPECT_TRUE(session->up());
}

TEST_F(SessionTest, PrivateMessage) {
  begin(settings());
  log_in();
  say(":Bob!b@h PRIVMSG talaria :hello");
  ASSERT_EQ(events.size(), 1U);
  const auto& e = events[0];
  EXPECT_EQ(e.route, (Route{.channel = "net", .conversation = "Bob", .thread = "", .reply_to = "id1"}));
  EXPECT_EQ(e.sender.id, "nick:bob");
  EXPECT_EQ(e.sender.name, "Bob");
  EXPECT_EQ(e.message_id, "id1");
  EXPECT_TRUE(e.direct);
}

TEST_F(SessionTest, ChannelMessageOnlyWhereWeAre) {
  begin(settings());
  log_in();
  say(":bob!b@h PRIVMSG #room :talaria: too early");
  say(":talaria!t@h JOIN #room");
  say(":bob!b@h PRIVMSG #ROOM :talaria: hello");
  say(":bob!b@h PRIVMSG #elsewhere :talaria: hello");
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].route.conversation, "#Room");
  EXPECT_EQ(events[0].message_id, "bob!id1");
  EXPECT_EQ(events[0].route.reply_to, "bob!id1");
  EXPECT_FALSE(events[0].direct);
}

TEST_F(SessionTest, TheServersMessageIdIsUsed) {
  begin(settings());
  log_in("message-tags");
  say("@msgid=XYZ :bob!b@h PRIVMSG talaria :one");
  say("@msgid= :bob!b@h PRIVMSG talaria :two");
  EXPECT_EQ(events[0].message_id, "XYZ");
  EXPECT_EQ(events[1].message_id, "id1");
}

TEST_F(SessionTest, WhatWasSaidBeforeWeCameAndHasNoIdIsPassedOver) {
  std::vector<std::string> told;
  auto s = settings();
  s.on_passed_over = [&](std::string_view what) { told.emplace_back(what); };
  begin(std::move(s));
  log_in("server-time");
  say("@time=2026-03-01T11:00:00.000Z :bob!b@h PRIVMSG talaria :/restart");
  clock.time = at("2026-03-01T12:01:00Z");
  say(":talaria!t@h JOIN #Room");
  say("@time=2026-03-01T12:00:30.000Z :bob!b@h PRIVMSG #room :talaria: before our JOIN");
  EXPECT_THAT(texts(), IsEmpty());
  ASSERT_EQ(told.size(), 2U);
  EXPECT_THAT(told[0], HasSubstr("2026-03-01T11:00:00.000Z"));
  say("@time=2026-03-01T12:00:30.000Z :bob!b@h PRIVMSG talaria :after our login");
  say("@time=2026-03-01T12:00:58.000Z :bob!b@h PRIVMSG #room :talaria: by a clock that is late");
  say("@time=2026-03-01T11:00:00.000Z;msgid=a :bob!b@h PRIVMSG talaria :with an id");
  say("@time=yesterday :bob!b@h PRIVMSG talaria :garbage");
  say(":bob!b@h PRIVMSG talaria :no time");
  EXPECT_THAT(texts(), ElementsAre("after our login", "by a clock that is late", "with an id", "garbage", "no time"));
  EXPECT_EQ(told.size(), 2U);
}

TEST_F(SessionTest, TheServersClockDecidesWhatWasBeforeUs) {
  begin(settings());
  log_in("server-time");
  say("@time=2026-03-01T11:57:00.000Z :talaria!t@h JOIN #Room");  // three minutes late
  say("@time=2026-03-01T11:56:00.000Z :bob!b@h PRIVMSG #Room :talaria: old");
  say("@time=2026-03-01T11:57:10.000Z :bob!b@h PRIVMSG #Room :talaria: new");
  EXPECT_THAT(texts(), ElementsAre("new"));
  say(":op!o@h KICK #Room talaria :bye");
  say("@time=2020-01-01T00:00:00.000Z :talaria!t@h JOIN #Room");  // a bouncer's own JOIN
  say("@time=2026-03-01T11:00:00.000Z :bob!b@h PRIVMSG #Room :talaria: old");
  EXPECT_THAT(texts(), IsEmpty());
}

TEST_F(SessionTest, TheTimeOfAMessageIsTheServers) {
  begin(settings());
  log_in("server-time");
  say("@time=2026-02-27T12:00:00.000Z;msgid=a :bob!b@h PRIVMSG talaria :old");
  say("@time=2026-03-09T12:00:00.000Z;msgid=b :bob!b@h PRIVMSG talaria :from the future");
  say("@msgid=c :bob!b@h PRIVMSG talaria :no time");
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].received_at, at("2026-02-27T12:00:00Z"));
  EXPECT_EQ(events[1].received_at, clock.time);
  EXPECT_EQ(events[2].received_at, clock.time);
}

TEST_F(SessionTest, NobodyIsAllowedByDefault) {
  begin(settings({}));
  log_in();
  say(":bob!b@h PRIVMSG talaria :hello");
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(SessionTest, AccountFromTheTagAlone) {
  begin(settings({"account:alice"}));
  log_in("account-tag extended-join account-notify");
  say(":bob!b@h JOIN #room alice :Bob");
  say(":bob!b@h PRIVMSG talaria :without a tag");
  say("@account=eve :bob!b@h PRIVMSG talaria :other account");
  say("@account=Alice :bob!b@h PRIVMSG talaria :mine");
  EXPECT_EQ(events.at(0).sender.id, "account:alice");
  EXPECT_THAT(texts(), ElementsAre("mine"));
}

TEST_F(SessionTest, ATagThatWasNotAgreedOnProvesNothing) {
  begin(settings({"account:alice"}));
  log_in("message-tags");
  say("@account=alice :bob!b@h PRIVMSG talaria :hello");
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(SessionTest, AccountByTrackingIsForgottenOutOfSight) {
  begin(settings({"account:alice"}));
  log_in("extended-join account-notify");
  say(":talaria!t@h JOIN #room * :Talaria");
  EXPECT_THAT(take(), ElementsAre("WHO #room %tcna,742"));
  say(":s 353 talaria = #room :talaria @carol bob");
  say(":carol!c@h PRIVMSG talaria :before the answer");
  say(":s 354 talaria 742 #room carol alice");
  say(":s 354 talaria 742 #room bob 0");
  say(":carol!c@h PRIVMSG talaria :known by WHOX");
  say(":bob!b@h PRIVMSG talaria :not logged in");
  say(":bob!b@h ACCOUNT alice");
  say(":bob!b@h PRIVMSG talaria :logged in");
  say(":bob!b@h NICK rob");
  say(":rob!b@h PRIVMSG talaria :renamed");
  say(":rob!b@h ACCOUNT *");
  say(":rob!b@h PRIVMSG talaria :logged out");
  say(":dan!d@h JOIN #room alice :Dan");
  say(":dan!d@h PRIVMSG talaria :extended join");
  say(":dan!d@h PART #room");
  say(":dan!x@evil PRIVMSG talaria :out of sight");
  say(":carol!c@h QUIT :bye");
  say(":carol!x@evil PRIVMSG talaria :the nick of another");
  EXPECT_THAT(texts(), ElementsAre("known by WHOX", "logged in", "renamed", "extended join"));
}

TEST_F(SessionTest, WithoutAccountNotifyNoAccountIsBelieved) {
  begin(settings({"account:alice"}));
  log_in("extended-join");
  say(":talaria!t@h JOIN #room * :Talaria");
  say(":dan!d@h JOIN #room alice :Dan");
  say(":dan!d@h PRIVMSG talaria :may have logged out unseen");
  EXPECT_THAT(events, IsEmpty());
}

TEST_F(SessionTest, TakesTheWantedNickBack) {
  begin(settings());
  say(":s 433 * talaria :in use");
  say(":s 001 talaria_ :Welcome");
  say(":s 376 talaria_ :End");
  EXPECT_EQ(session->nick(), "talaria_");
  take();
  say(":talaria!x@h QUIT :ghost");
  EXPECT_THAT(take(), ElementsAre("NICK talaria"));
  session->on_tick(session->next_tick());  // and by itself soon after login
  EXPECT_THAT(take(), ElementsAre("NICK talaria"));
  say(":s 433 talaria_ talaria :still in use");
  EXPECT_EQ(session->nick(), "talaria_");
  now += 60s;
  session->on_tick(now);
  EXPECT_THAT(take(), Contains("NICK talaria"));
  say(":talaria_!t@h NICK talaria");
  EXPECT_EQ(session->nick(), "talaria");
  say(":bob!b@h PRIVMSG talaria :hello");
  EXPECT_THAT(texts(), ElementsAre("hello"));
  now += 120s;
  session->on_tick(now);
  EXPECT_THAT(take(), Not(Contains("NICK talaria")));
}

TEST_F(SessionTest, ComesBackAfterAKick) {
  begin(settings());
  log_in();
  say(":talaria!t@h JOIN #room");
  say(":op!o@h KICK #room talaria :out");
  EXPECT_FALSE(session->can_send_to("#room"));
  now = session->next_tick();
  session->on_tick(now);
  EXPECT_THAT(take(), Contains("JOIN #Room"));
}

TEST_F(SessionTest, ASilentServerIsLeft) {
  begin(settings({"*"}, {}));
  log_in();
  now += 61s;
  const auto asked = now;
  session->on_tick(now);
  EXPECT_THAT(take(), ElementsAre("PING talaria-alive-1"));
  EXPECT_EQ(session->next_tick(), asked + 30s);
  session->on_tick(asked + 29s);
  EXPECT_FALSE(session->end());
  session->on_tick(asked + 30s);
  ASSERT_TRUE(session->end());
  EXPECT_FALSE(session->end()->lasting);
  EXPECT_THAT(session->end()->what, HasSubstr("PING"));
  EXPECT_FALSE(session->up());
}

TEST_F(SessionTest, AnAnsweredPingGoesOn) {
  begin(settings({"*"}, {}));
  log_in();
  for (int i = 1; i <= 5; ++i) {
    now += 61s;
    session->on_tick(now);
    EXPECT_THAT(take(), ElementsAre(fmt::format("PING talaria-alive-{}", i)));
    say(fmt::format(":s PONG s :talaria-alive-{}", i));
  }
  EXPECT_FALSE(session->end());
}

TEST_F(SessionTest, AReceiptThatNeverComesMeansDeaf) {
  begin(settings({"*"}, {}));
  log_in();
  auto d = outgoing.deliver("bob", "tok", {"PRIVMSG bob :x"});
  take();
  EXPECT_LE(session->next_tick(), now + 30s);
  session->resumed(now + 20s);  // the reader had been held back: it may lie there unread
  session->on_tick(now + 31s);
  EXPECT_FALSE(session->end());
  session->on_tick(now + 51s);
  EXPECT_TRUE(session->end());
}

TEST_F(SessionTest, ANickThatIsNotThereIsDeadOnlyOnceWeHaveSettled) {
  begin(settings({"*"}, {}));
  log_in();
  const auto refused = [&](std::string token) {
    const auto d = outgoing.deliver("bob", token, {"PRIVMSG bob :x"});
    take();
    say(":s 401 talaria bob :No such nick");
    say(":s PONG s :" + token);
    return d->outcome->error().fate;
  };
  EXPECT_EQ(refused("t1"), DeliveryError::Fate::retry);
  now += 60s;
  EXPECT_EQ(refused("t2"), DeliveryError::Fate::dead);
}

TEST_F(SessionTest, NoGreetingInTime) {
  begin(settings());
  session->on_tick(session->next_tick());
  ASSERT_TRUE(session->end());
  EXPECT_THAT(session->end()->what, HasSubstr("greeting"));
}

TEST_F(SessionTest, TheServersReasonIsKept) {
  begin(settings());
  log_in();
  say("ERROR :Closing Link: K-lined");
  ASSERT_TRUE(session->end());
  EXPECT_THAT(session->end()->what, HasSubstr("K-lined"));
}

TEST_F(SessionTest, OurRelayedNameFollowsTheServer) {
  begin(settings());
  log_in();
  EXPECT_EQ(session->source_bytes(), std::string_view("talaria!~talaria@").size() + 63);
  say(":talaria!~tal@gw.example JOIN #room");
  say(":s 396 talaria a.cloak.example :is now your hidden host");
  EXPECT_EQ(session->source_bytes(), std::string_view("talaria!~tal@a.cloak.example").size());
  say(":talaria!~tal@x CHGHOST user new.host");
  EXPECT_EQ(session->source_bytes(), std::string_view("talaria!user@new.host").size());
}

TEST_F(SessionTest, RubbishEndsNothing) {
  begin(settings());
  log_in();
  for (const auto* line : {"",
                           ":",
                           "@",
                           ":x",
                           "JOIN",
                           "KICK",
                           "NICK",
                           "PART",
                           "QUIT",
                           "353",
                           "354",
                           "396",
                           "005",
                           "PONG",
                           "PRIVMSG",
                           "ACCOUNT",
                           ":talaria!t@h NICK",
                           ":a!b@c JOIN",
                           ":s 401",
                           "PING",
                           "ERR0R",
                           ":talaria CHGHOST"}) {
    say(line);
  }
  EXPECT_FALSE(session->end());
  EXPECT_EQ(session->nick(), "talaria");
}

TEST_F(SessionTest, AServerThatOnlyAsksIsLeft) {
  begin(settings());
  log_in();
  for (int i = 0; i < 5000 && !session->end(); ++i) say("PING :x");
  EXPECT_TRUE(session->end());
}

TEST_F(SessionTest, TellsWhoSpokeToUsAndIsNotAnswered) {
  std::vector<std::string> told;
  auto s = settings({"account:alice"});
  s.on_passed_over = [&](std::string_view what) { told.emplace_back(what); };
  begin(std::move(s));
  log_in("account-tag");
  say(":talaria!t@h JOIN #Room");
  say("@account=alice :anna!a@h PRIVMSG talaria :hello");
  say(":alice!a@h\x1b PRIVMSG talaria :I only have the nick");
  say("@account=eve :eve!e@h PRIVMSG #elsewhere :talaria: hello");
  say("@account=eve :eve!e@h PRIVMSG #Room :just talking");
  say("@account=eve :eve!e@h PRIVMSG #Room :talaria: hello");
  EXPECT_EQ(events.size(), 1U);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_THAT(told[0], StartsWith("a message of alice!a@h"));
  EXPECT_THAT(told[0], Not(testing::HasSubstr("\x1b")));
  EXPECT_EQ(told[1], "a message of eve!e@h (account eve) is not answered: no rule of allow fits");
}

TEST_F(SessionTest, AdministratorsAreToldApartAndAnswered) {
  auto s = settings({"nick:bob"});
  s.admins = AllowList({"account:alice"});
  begin(std::move(s));
  log_in("account-tag");
  say("@account=alice :anna!a@h PRIVMSG talaria :/restart");
  say(":bob!b@h PRIVMSG talaria :hello");
  say(":alice!a@h PRIVMSG talaria :I only have the nick");
  ASSERT_EQ(events.size(), 2U);
  EXPECT_TRUE(events[0].sender.admin) << "an administrator need not be in allow";
  EXPECT_FALSE(events[1].sender.admin);
}

}  // namespace
}  // namespace talaria::irc
