#include "api/api_server.h"

#include <gtest/gtest.h>

#include "api/api_test_support.h"
#include "gateway/gateway_test_support.h"

namespace talaria {
namespace {

using test::RecordedExchange;

TEST(KeyRing, OnlyTheWholeKeyIsAccepted) {
  const KeyRing ring({"first-key", "second"});
  EXPECT_TRUE(ring.accepts("first-key"));
  EXPECT_TRUE(ring.accepts("second"));
  for (const char* wrong : {"", "first-ke", "first-keyfirst-key", "first-key ", "secondsecond", "First-key"}) {
    EXPECT_FALSE(ring.accepts(wrong)) << wrong;
  }
}

TEST(KeyRing, AnEmptyKeyIsNoKey) {
  EXPECT_FALSE(KeyRing({""}).accepts(""));
  EXPECT_FALSE(KeyRing({}).accepts(""));
}

class RecordingEndpoint final : public HookEndpoint {
 public:
  Task<HookResponse> handle(HookRequest request) override {
    seen.push_back(std::move(request));
    co_return answer;
  }
  HookResponse answer;
  std::vector<HookRequest> seen;
};

class HookRoute : public test::GatewayTest {
 protected:
  // One request to a router whose keys let nobody in.
  static Task<HttpResponse> ask(Gateway* gateway, std::string method, std::string target) {
    ApiRouter router(KeyRing({}),
                     {.state = [] { return std::string_view("running"); }, .ready = [] { return true; }, .status = {}},
                     true);
    router.attach(gateway);
    HttpRequest request{.method = std::move(method), .target = std::move(target), .headers = {}, .body = "raw \xff"};
    request.headers.set("Host", "hooks.example.org");
    request.headers.set("X-Signature", "S");
    request.peer = "192.0.2.1:5";
    RecordedExchange exchange(co_await asio::this_coro::executor);
    co_await router.handle(std::move(request), exchange);
    EXPECT_TRUE(exchange.answered);
    co_return exchange.response;
  }
};

TEST_F(HookRoute, GoesToTheChannelWithoutAnyKey) {
  run([](test::World& w) -> Task<> {
    RecordingEndpoint endpoint;
    w.channel->endpoint = &endpoint;
    EXPECT_EQ((co_await ask(&*w.gateway, "POST", "/hooks/chat?x=1")).status, 204);
    EXPECT_EQ(endpoint.seen.at(0).body, "raw \xff");
    EXPECT_EQ(endpoint.seen.at(0).header("x-signature"), "S");
    EXPECT_EQ(endpoint.seen.at(0).peer, "192.0.2.1:5");
  });
}

TEST_F(HookRoute, RefusalsAreProblemDocuments) {
  run([](test::World& w) -> Task<> {
    RecordingEndpoint endpoint;
    EXPECT_EQ((co_await ask(&*w.gateway, "POST", "/hooks/chat")).status, 404) << "it takes no hooks";
    w.channel->endpoint = &endpoint;
    for (const char* target : {"/hooks/", "/hooks/nobody", "/hooks/chat/", "/hooks/Chat", "/hooks/../hooks/chat"})
      EXPECT_EQ((co_await ask(&*w.gateway, "POST", target)).status, 404) << target;
    for (const char* method : {"GET", "HEAD", "PUT", "OPTIONS"}) {
      const HttpResponse response = co_await ask(&*w.gateway, method, "/hooks/chat");
      EXPECT_EQ(response.status, 405) << method;
      EXPECT_EQ(response.headers.get("Allow"), "POST");
    }
    EXPECT_TRUE(endpoint.seen.empty());
    endpoint.answer = {.status = 503, .title = "not \"now\"", .retry_after = 7};
    const HttpResponse response = co_await ask(&*w.gateway, "POST", "/hooks/chat");
    EXPECT_EQ(response.status, 503);
    EXPECT_EQ(response.headers.get("Retry-After"), "7");
    EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
    const auto body = boost::json::parse(response.body).as_object();
    EXPECT_EQ(body.at("title"), "not \"now\"");
    EXPECT_EQ(body.at("status"), 503);
  });
}

TEST_F(HookRoute, WhileStartingAndDrainingTheSenderIsToldToComeAgain) {
  run([](test::World& w) -> Task<> {
    RecordingEndpoint endpoint;
    w.channel->endpoint = &endpoint;
    const HttpResponse starting = co_await ask(nullptr, "POST", "/hooks/chat");
    EXPECT_EQ(starting.status, 503);
    EXPECT_NE(starting.headers.get("Retry-After"), "");
    w.gateway->begin_drain();
    const HttpResponse draining = co_await ask(&*w.gateway, "POST", "/hooks/chat");
    EXPECT_EQ(draining.status, 503);
    EXPECT_NE(draining.headers.get("Retry-After"), "");
    EXPECT_TRUE(endpoint.seen.empty());
  });
}

class HostCheck : public test::GatewayTest {
 protected:
  int status_for(const std::string& host) {
    int status = 0;
    run([&](test::World&) -> Task<> {
      ApiRouter router(
          KeyRing({}),
          {.state = [] { return std::string_view("running"); }, .ready = [] { return true; }, .status = {}}, true);
      HttpRequest request{.method = "GET", .target = "/healthz", .headers = {}, .body = {}};
      request.headers.set("Host", host);
      RecordedExchange exchange(co_await asio::this_coro::executor);
      co_await router.handle(std::move(request), exchange);
      status = exchange.response.status;
    });
    return status;
  }
};

TEST_F(HostCheck, OnlyNamesOfThisMachineReachALoopbackApi) {
  for (const char* host : {"127.0.0.1:8642", "127.0.0.1", "127.8.9.10:1", "localhost", "localhost:8642",
                           "app.localhost:1", "[::1]:8642", "[0:0:0:0:0:0:0:1]"})
    EXPECT_EQ(status_for(host), 200) << host;
  for (const char* host :
       {"127.0.0.1.evil.com", "127.0.0.1.evil.com:8642", "127.evil", "127.0.0.1@evil.com", "evil.com", "128.0.0.1",
        "[::2]:1", "notlocalhost", "localhost.evil.com", "[127.0.0.1.evil.com]"})
    EXPECT_EQ(status_for(host), 403) << host;
}

}  // namespace
}  // namespace talaria
