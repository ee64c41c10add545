#include "channel/webhook/webhook_channel.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <set>

#include "net/http_server.h"
#include "net/listen.h"
#include "runtime/task_group.h"

namespace talaria::webhook {
namespace {

using Fate = DeliveryError::Fate;

constexpr const char* key_text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

class HeldClock final : public WallClock {
 public:
  [[nodiscard]] UnixMillis now() const override { return 1'614'265'330'000; }
};

class Journal final : public Inbox {
 public:
  Task<Result<Accepted>> accept(InboundEvent event) override {
    if (refusal) co_return std::unexpected(*refusal);
    const bool fresh = known.insert(event.route.conversation + "/" + event.message_id).second;
    events.push_back(std::move(event));
    co_return Accepted{.duplicate = !fresh};
  }
  std::vector<InboundEvent> events;
  std::set<std::string> known;
  std::optional<Error> refusal;
};

class WebhookChannelTest : public testing::Test {
 protected:
  WebhookChannelTest() {
    config.name = "hook";
    config.kind = "webhook";
    config.webhook.scheme = "github";
    config.webhook.deliver_to = "libera:#ops:t";
  }

  template <class Body>
  void play(Body body) {
    WebhookChannel channel(config, {"secret", key_text}, loop.get_executor(), clock);
    TaskGroup group(loop.get_executor(),
                    [](std::string_view task, std::string_view what) { ADD_FAILURE() << task << ": " << what; });
    group.spawn("channel", channel.run(journal));
    bool done = false;
    asio::co_spawn(loop, body(channel), [&](std::exception_ptr bug) {
      if (bug) std::rethrow_exception(bug);
      done = true;
      group.cancel();
    });
    loop.run_for(std::chrono::seconds(20));
    EXPECT_TRUE(done) << "the test's script did not end";
  }

  static HookRequest report(std::string id, std::string body, std::string event = "issues") {
    std::string digest;
    for (const char c : hmac_sha256("secret", body)) digest += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return {.headers = {{"x-hub-signature-256", "sha256=" + digest},
                        {"x-github-delivery", std::move(id)},
                        {"x-github-event", std::move(event)}},
            .body = std::move(body),
            .peer = {}};
  }

  asio::io_context loop{1};
  HeldClock clock;
  Journal journal;
  ChannelConfig config;
};

TEST_F(WebhookChannelTest, AReportBecomesAnEventThatAnswersElsewhere) {
  config.webhook.prompt = "{{ @event }}: {{ issue.title }}";
  play([&](WebhookChannel& channel) -> Task<> {
    co_await sleep_for(Millis{1});
    const std::string body = R"({"action":"opened","issue":{"title":"it broke"},"sender":{"login":"alice"}})";
    EXPECT_EQ((co_await channel.handle(report("d1", body))).status, 202);
    EXPECT_EQ((co_await channel.handle(report("d1", body))).status, 200) << "known";
    EXPECT_EQ((co_await channel.handle(report("d2", "{}"))).status, 202);
  });
  ASSERT_EQ(journal.events.size(), 3U);
  const InboundEvent& event = journal.events[0];
  EXPECT_EQ(event.text, "issues.opened: it broke");
  EXPECT_EQ(event.message_id, "d1");
  EXPECT_NE(journal.events[2].text, "") << "nothing to fill in";
  EXPECT_EQ(event.sender.name, "alice");
  EXPECT_EQ(event.answer_to, (Route{"libera", "#ops", "t", ""}));
  EXPECT_FALSE(event.relay || event.direct);
  EXPECT_NE(event.route.thread, journal.events[2].route.thread) << "each has its session";
  EXPECT_EQ(event.route.conversation, journal.events[2].route.conversation) << "ids are unique in the channel";
}

TEST_F(WebhookChannelTest, WhatIsNotProvedWantedOrJsonIsNotJournalled) {
  config.webhook.events = {"issues.opened"};
  play([&](WebhookChannel& channel) -> Task<> {
    co_await sleep_for(Millis{1});
    HookRequest forged = report("d", R"({"action":"opened"})");
    forged.body += " ";
    EXPECT_EQ((co_await channel.handle(std::move(forged))).status, 401);
    EXPECT_EQ((co_await channel.handle(report("d", R"({"action":"closed"})"))).status, 204);
    EXPECT_EQ((co_await channel.handle(report("d", "no json"))).status, 400);
  });
  EXPECT_TRUE(journal.events.empty());
}

TEST_F(WebhookChannelTest, WhatCantBeJournalledIsAskedForAgain) {
  journal.refusal = Error{ErrorKind::unavailable, "disk full"};
  play([&](WebhookChannel& channel) -> Task<> {
    co_await sleep_for(Millis{1});
    const HookResponse answer = co_await channel.handle(report("d", "{}"));
    EXPECT_EQ(answer.status, 503);
    EXPECT_GT(answer.retry_after, 0);
  });
}

TEST_F(WebhookChannelTest, ATextThatReportsShareMakesThemOneSession) {
  config.webhook.session = "{{ issue.id }}";
  config.webhook.deliver_only = true;
  config.webhook.deliver_to = "none";
  play([&](WebhookChannel& channel) -> Task<> {
    co_await sleep_for(Millis{1});
    for (const char* id : {"a", "b"}) {
      const HookResponse answer = co_await channel.handle(report(id, R"({"issue":{"id":9}})"));
      EXPECT_EQ(answer.status, 202);
    }
    EXPECT_EQ((co_await channel.handle(report("c", "{}"))).status, 202);
    EXPECT_TRUE(co_await channel.deliver({.route = {"hook", "9", "", "a"}, .text = "x"})) << "it stays in the store";
    EXPECT_FALSE(co_await channel.deliver({.route = {"hook", "9", "", ""}, .text = "x"})) << "sent by hand";
  });
  ASSERT_EQ(journal.events.size(), 3U);
  EXPECT_EQ(journal.events[0].route.thread, "9");
  EXPECT_EQ(journal.events[1].route.thread, "9");
  EXPECT_EQ(journal.events[2].route.thread, "c");
  EXPECT_EQ(journal.events[0].answer_to, (Route{"hook", "9", "", "a"}));
  EXPECT_TRUE(journal.events[0].relay);
}

TEST(Outbound, TheIdentityIsTheRowsAndStays) {
  Reply reply{.outbox_id = 7, .route = {"hook", "c", "t", "r"}, .text = "hello"};
  const std::string id = message_id(reply);
  EXPECT_TRUE(id.starts_with("msg_7_"));
  reply.may_be_repeat = true;
  EXPECT_EQ(message_id(reply), id);
  EXPECT_EQ(id.find('.'), std::string::npos);
  std::set<std::string> ids{id};
  reply.text = "hello!";
  EXPECT_TRUE(ids.insert(message_id(reply)).second) << "a new store counts from 1 again";
  reply.outbox_id = 8;
  EXPECT_TRUE(ids.insert(message_id(reply)).second);
  reply.route.conversation = "ct";
  reply.route.thread = "";
  EXPECT_TRUE(ids.insert(message_id(reply)).second);
}

TEST(Outbound, StatusesDecide) {
  const auto fate = [](int status) { return judge(status, "", "id", 0).error().fate; };
  for (const int status : {200, 201, 204, 299}) EXPECT_TRUE(judge(status, "", "id", 0)) << status;
  for (const int status : {400, 401, 403, 404, 410, 413, 422}) EXPECT_EQ(fate(status), Fate::dead) << status;
  for (const int status : {301, 302, 408, 409, 425, 429, 500, 502, 503, 599})
    EXPECT_EQ(fate(status), Fate::retry) << status;
  EXPECT_EQ(judge(429, "17", "id", 0).error().retry_after, Millis{17'000});
}

TEST(Outbound, RetryAfterIsSecondsOrADate) {
  EXPECT_EQ(parse_retry_after("120", 0), Millis{120'000});
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784'111'767'000), Millis{10'000});
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784'111'787'000), Millis{0}) << "past";
  EXPECT_EQ(parse_retry_after("999999999", 0), std::chrono::hours(24));
  for (const char* wrong : {"", "-5", "soon", "1.5", "12 ", "Sun, 06 Nov 1994"})
    EXPECT_EQ(parse_retry_after(wrong, 0), Millis{0}) << wrong;
}

TEST_F(WebhookChannelTest, RepliesArePostedSignedAFewAtATime) {
  auto listener = listen_on(TcpEndpoint{"127.0.0.1", 0});
  ASSERT_TRUE(listener);
  config.webhook.url = fmt::format("http://{}/in?x=1", to_string(listener->endpoint));
  std::vector<HttpRequest> seen;
  int busy = 0;
  int busiest = 0;
  HttpServer server(loop.get_executor(), {}, [&](HttpRequest request, HttpExchange& exchange) -> Task<> {
    busiest = std::max(busiest, ++busy);
    seen.push_back(std::move(request));
    co_await sleep_for(Millis{5});
    --busy;
    HttpResponse response;
    response.status = seen.size() == 1 ? 429 : 204;
    if (seen.size() == 1) response.headers.set("Retry-After", "3");
    co_await exchange.send(std::move(response));
  });
  ASSERT_TRUE(server.serve(std::move(listener->fd)));
  play([&](WebhookChannel& channel) -> Task<> {
    co_await sleep_for(Millis{1});
    const Reply reply{.outbox_id = 7, .route = {"hook", "c", "", ""}, .text = "h\xc3\xa9llo"};
    const auto refused = co_await channel.deliver(reply);
    EXPECT_TRUE(!refused && refused.error().fate == Fate::retry && refused.error().retry_after == Millis{3'000});
    const auto taken = co_await channel.deliver(reply);
    EXPECT_TRUE(taken && taken->platform_id == message_id(reply));
    TaskGroup many(loop.get_executor());
    for (int i = 0; i < 40; ++i) {
      many.spawn("post", [](WebhookChannel& to, Reply what) -> Task<> {
        EXPECT_TRUE(co_await to.deliver(std::move(what)));
      }(channel, {.outbox_id = 100 + i, .route = {"hook", "c", "", ""}, .text = "x"}));
    }
    EXPECT_TRUE(co_await many.join(Deadline::in(std::chrono::seconds(10))));
    co_await server.stop(Deadline::in(std::chrono::seconds(5)));
  });
  ASSERT_EQ(seen.size(), 42U);
  EXPECT_LE(busiest, 8);
  EXPECT_EQ(seen[0].target, "/in?x=1");
  EXPECT_EQ(seen[0].headers.get("webhook-id"), seen[1].headers.get("webhook-id"));
  HookRequest request{.headers = {}, .body = seen[1].body, .peer = {}};
  for (const char* name : {"webhook-id", "webhook-timestamp", "webhook-signature"})
    request.headers.emplace_back(name, seen[1].headers.get(name));
  EXPECT_TRUE(verify(Scheme::standard, key_text, request, clock.now()));
  const auto body = boost::json::parse(seen[1].body).as_object();
  EXPECT_EQ(body.at("data").at("text"), "h\xc3\xa9llo");
  EXPECT_EQ(body.at("data").at("conversation"), "c");
}

TEST_F(WebhookChannelTest, NobodyThereIsTriedAgainAndAChannelThatLeavesAnswersAtOnce) {
  auto listener = listen_on(TcpEndpoint{"127.0.0.1", 0});  // takes connections, answers nothing
  ASSERT_TRUE(listener);
  config.webhook.url = fmt::format("http://{}/", to_string(listener->endpoint));
  WebhookChannel channel(config, {"secret", key_text}, loop.get_executor(), clock);
  TaskGroup group(loop.get_executor());
  group.spawn("channel", channel.run(journal));
  bool done = false;
  asio::co_spawn(
      loop,
      [&]() -> Task<> {
        std::optional<std::expected<Receipt, DeliveryError>> outcome;
        TaskGroup posts(loop.get_executor());
        posts.spawn("post", [](WebhookChannel& to, auto& into) -> Task<> {
          into.emplace(co_await to.deliver({.outbox_id = 1, .route = {"hook", "c", "", ""}, .text = "x"}));
        }(channel, outcome));
        co_await sleep_for(Millis{50});
        EXPECT_FALSE(outcome);
        group.cancel();
        EXPECT_TRUE(co_await posts.join(Deadline::in(std::chrono::seconds(5))));
        EXPECT_TRUE(outcome && !*outcome && outcome->error().fate == Fate::retry);
        listener->fd.reset();
        WebhookChannel other(config, {"secret", key_text}, loop.get_executor(), clock);
        EXPECT_EQ((co_await other.handle(report("d", "{}"))).status, 503) << "it does not run yet";
        const auto refused = co_await other.deliver({.outbox_id = 1, .route = {"hook", "c", "", ""}, .text = "x"});
        EXPECT_TRUE(!refused && refused.error().fate == Fate::retry);
      },
      [&](std::exception_ptr bug) {
        if (bug) std::rethrow_exception(bug);
        done = true;
      });
  loop.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace talaria::webhook
