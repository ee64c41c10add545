#include "net/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "net/net_test_support.h"
#include "net/request_reader.h"

namespace talaria {
namespace {

using test::Loop;
using test::Peer;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

HttpResponse text_response(std::string body, int status = 200) {
  HttpResponse response;
  response.status = status;
  response.headers.set("Content-Type", "text/plain");
  response.body = std::move(body);
  return response;
}

Task<> echo(HttpRequest request, HttpExchange& exchange) {
  EXPECT_FALSE(request.headers.has("X-Trailer"));
  (void)co_await exchange.send(text_response(request.method + " " + request.target + " [" + request.body + "]"));
}

// A server on a loop of its own. Members are used on the loop only.
class Served {
 public:
  explicit Served(HttpHandler handler = echo, HttpServerLimits limits = {},
                  Endpoint endpoint = TcpEndpoint{"127.0.0.1", 0}) {
    auto listener = listen_on(endpoint);
    if (!listener) throw std::runtime_error(listener.error().what);
    if (const auto* tcp = std::get_if<TcpEndpoint>(&listener->endpoint)) port = tcp->port;
    loop.on_loop([&] {
      server.emplace(loop.executor(), limits, std::move(handler),
                     [this](std::string_view what) { bug.set_value(std::string(what)); });
      EXPECT_TRUE(server->serve(std::move(listener->fd)));
    });
  }
  ~Served() {
    EXPECT_TRUE(stop());
    loop.on_loop([&] { server.reset(); });
  }
  bool stop() { return loop.await(server->stop(Deadline::in(Millis(10'000)))); }
  Peer connect(int receive_buffer = 0) { return Peer::connect(port, receive_buffer); }
  std::string bug_text() {
    auto future = bug.get_future();
    return future.wait_for(std::chrono::seconds(10)) == std::future_status::ready ? future.get()
                                                                                  : "no bug was reported";
  }

  std::uint16_t port = 0;
  std::promise<std::string> bug;
  Loop loop;
  std::optional<HttpServer> server;
};

constexpr std::string_view get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(HttpServer, AnswersAndKeepsTheConnection) {
  Served served;
  Peer peer = served.connect();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(peer.send("POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"));
    const auto answer = peer.read_response();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
    EXPECT_THAT(answer, HasSubstr("\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\nPOST /a?b=c [hello]"));
    EXPECT_THAT(answer, Not(HasSubstr("Connection:")));
  }
}

TEST(HttpServer, ClosesWhenAsked) {
  Served served;
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(peer.read_to_end(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(peer.ended());
}

TEST(HttpServer, Http10ClosesUnlessKeptAlive) {
  Served served;
  Peer once = served.connect();
  ASSERT_TRUE(once.send("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_THAT(once.read_to_end(), HasSubstr("GET / []"));
  EXPECT_TRUE(once.ended());
  Peer kept = served.connect();
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    EXPECT_THAT(kept.read_response(), HasSubstr("Connection: keep-alive\r\n"));
  }
}

TEST(HttpServer, HeadHasTheLengthButNoBody) {
  Served served;
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(get)));
  const auto head = peer.read_until("\r\n\r\n");
  EXPECT_THAT(head, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(peer.read_response(), StartsWith("HTTP/1.1 200 "));  // directly behind the head: no body in between
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  Served served;
  Peer peer = served.connect();
  std::string all;
  for (int i = 0; i < 50; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_TRUE(peer.send(all));
  for (int i = 0; i < 50; ++i) EXPECT_THAT(peer.read_response(), HasSubstr("GET /" + std::to_string(i) + " []"));
}

TEST(HttpServer, ReadsChunkedBodiesCutAnywhere) {
  Served served;
  Peer peer = served.connect();
  const std::string request =
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n "
      "world\r\n0\r\nX-Trailer: x\r\n\r\n";
  for (const char c : request) ASSERT_TRUE(peer.send({&c, 1}));
  EXPECT_THAT(peer.read_response(), HasSubstr("POST / [hello world]"));
  ASSERT_TRUE(peer.send(request));
  EXPECT_THAT(peer.read_response(), HasSubstr("POST / [hello world]"));
}

TEST(HttpServer, AnEmptyChunkedBodyThatTrickles) {
  RequestReader reader(1000, 1000);
  const std::string request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  std::string buffer;
  for (const char c : request) {
    EXPECT_FALSE(reader.done());
    buffer += c;
    buffer.erase(0, reader.feed(buffer));
  }
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(buffer, "");
}

TEST(HttpServer, SaysContinueWhenTheClientWaitsForIt) {
  Served served;
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(peer.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(peer.send("ok"));
  EXPECT_THAT(peer.read_response(), HasSubstr("POST / [ok]"));
}

TEST(HttpServer, LargeBodiesBothWays) {
  Served served;
  Peer peer = served.connect();
  const std::string body(3'000'000, 'b');
  ASSERT_TRUE(
      peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
  EXPECT_THAT(peer.read_response(), testing::EndsWith("\r\n\r\nPOST / [" + body + "]"));
}

struct Refusal {
  const char* name;
  std::string request;
  const char* status;
};
class HttpServerRefuses : public testing::TestWithParam<Refusal> {};
TEST_P(HttpServerRefuses, WithAnErrorInJsonAndCloses) {
  HttpServerLimits limits;
  limits.header_bytes = 2000;
  limits.body_bytes = 1000;
  Served served(
      [](HttpRequest, HttpExchange&) -> Task<> {
        ADD_FAILURE() << "the handler was called";
        co_return;
      },
      limits);
  Peer peer = served.connect();
  (void)peer.send(GetParam().request);
  const auto answer = peer.read_response();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + std::string(GetParam().status))) << GetParam().request.substr(0, 200);
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, HasSubstr("{\"error\":{\"message\":\""));
  peer.end_sending();
  EXPECT_EQ(peer.read_to_end(), "");
  EXPECT_TRUE(peer.ended());
  EXPECT_FALSE(peer.was_reset()) << "a reset can overtake the answer";
}
const std::string host = "Host: x\r\n";
INSTANTIATE_TEST_SUITE_P(
    Bad, HttpServerRefuses,
    testing::Values(
        Refusal{"Garbage", "\x16\x03\x01\x02hello there\r\n\r\n", "400"}, Refusal{"NoVersion", "GET /\r\n\r\n", "400"},
        Refusal{"Http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"}, Refusal{"NoHost", "GET / HTTP/1.1\r\n\r\n", "400"},
        Refusal{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
        Refusal{"TargetNoPath", "GET foo HTTP/1.1\r\n" + host + "\r\n", "400"},
        Refusal{"BlankBeforeColon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400"},
        Refusal{"BlankLines", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "400"},
        Refusal{"LongTarget", "GET /" + std::string(3000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", "431"},
        Refusal{"LongHeader", "GET / HTTP/1.1\r\n" + host + "A: " + std::string(3000, 'a') + "\r\n\r\n", "431"},
        Refusal{"EndlessHeader", "GET / HTTP/1.1\r\n" + host + "A: " + std::string(100'000, 'a'), "431"},
        Refusal{"ManyHeaders",
                [] {
                  std::string r = "GET / HTTP/1.1\r\n" + host;
                  for (int i = 0; i < 200; ++i) r += "a:b\r\n";
                  return r + "\r\n";
                }(),
                "431"},
        Refusal{"LongBody", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1001\r\n\r\n", "413"},
        Refusal{"HugeLength", "POST / HTTP/1.1\r\n" + host + "Content-Length: 99999999999999999999999\r\n\r\n", "400"},
        Refusal{"NegativeLength", "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", "400"},
        Refusal{"TwoLengths", "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
        Refusal{"LengthAndChunks",
                "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "400"},
        Refusal{"UnknownCoding", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\nabc", "501"},
        Refusal{"TwoCodings", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                "501"},
        Refusal{"TwoCodingFields",
                "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
                "400"},
        Refusal{"ChunksInHttp10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
        Refusal{"BadChunk", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"},
        Refusal{"EndlessChunkHeader",
                "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(5000, 'a'), "400"},
        Refusal{"ChunksOverLimit",
                "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'a'),
                "413"}),
    [](const auto& info) { return info.param.name; });

TEST(HttpServer, AHeadThatTricklesIsBoundedToo) {
  HttpServerLimits limits;
  limits.header_bytes = 2000;
  Served served(echo, limits);
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send("GET / HTTP/1.1\r\nHost: x\r\n"));
  const std::string field = "A: " + std::string(100, 'a') + "\r\n";
  for (int i = 0; i < 30; ++i) (void)peer.send(field);
  EXPECT_THAT(peer.read_response(), StartsWith("HTTP/1.1 431 "));
}

TEST(HttpServer, AcceptsTheAbsoluteForm) {
  Served served;
  Peer peer = served.connect();
  ASSERT_TRUE(
      peer.send("GET http://x.example:80/a?b HTTP/1.1\r\nHost: x\r\n\r\nGET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_THAT(peer.read_response(), HasSubstr("GET /a?b []"));
  EXPECT_THAT(peer.read_response(), HasSubstr("GET /?q []"));
}

TEST(HttpServer, HalfARequestIsToldOffInTime) {
  HttpServerLimits limits;
  limits.request_time = Millis(100);
  Served served(echo, limits);
  Peer half_head = served.connect();
  ASSERT_TRUE(half_head.send("GET / HTTP/1.1\r\nHos"));
  Peer half_body = served.connect();
  ASSERT_TRUE(half_body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"));
  Peer silent = served.connect();
  EXPECT_THAT(half_head.read_response(), StartsWith("HTTP/1.1 408 "));
  EXPECT_THAT(half_body.read_response(), StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(silent.read_to_end(), "");  // nothing was asked, nothing is answered
  EXPECT_TRUE(silent.ended());
}

TEST(HttpServer, SlowlorisRunsOutOfTimeThoughItNeverFallsSilent) {
  HttpServerLimits limits;
  limits.request_time = Millis(150);
  Served served(echo, limits);
  Peer peer = served.connect();
  const auto begun = SteadyClock::now();
  ASSERT_TRUE(peer.send("GET / HTTP/1.1\r\nHost: x\r\n"));
  // One header line every few milliseconds; the answer ends it.
  pollfd ready{peer.fd(), POLLIN, 0};
  while (::poll(&ready, 1, 5) == 0 && SteadyClock::now() - begun < std::chrono::seconds(10))
    (void)peer.send("a: b\r\n");
  EXPECT_THAT(peer.read_response(), StartsWith("HTTP/1.1 408 "));
  EXPECT_LT(SteadyClock::now() - begun, std::chrono::seconds(5));
}

TEST(HttpServer, IdleKeptConnectionsAreClosed) {
  HttpServerLimits limits;
  limits.idle_time = Millis(50);
  Served served(echo, limits);
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  EXPECT_THAT(peer.read_to_end(), HasSubstr("GET / []"));
  EXPECT_TRUE(peer.ended());
}

TEST(HttpServer, StreamsChunks) {
  Served served([](HttpRequest, HttpExchange& exchange) -> Task<> {
    HttpResponse head;
    head.headers.set("Content-Type", "text/event-stream");
    EXPECT_TRUE(co_await exchange.begin(std::move(head)));
    EXPECT_TRUE(co_await exchange.write("one"));
    EXPECT_TRUE(co_await exchange.write(""));
    EXPECT_TRUE(co_await exchange.write("twelve bytes"));
    EXPECT_TRUE(co_await exchange.end());
  });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  EXPECT_THAT(peer.read_until("\r\n\r\n"), HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_EQ(peer.read_until("0\r\n\r\n"), "3\r\none\r\nc\r\ntwelve bytes\r\n0\r\n\r\n");
  ASSERT_TRUE(peer.send(get));  // the connection is kept
  EXPECT_THAT(peer.read_until("0\r\n\r\n"), HasSubstr("twelve bytes"));
  Peer old = served.connect();
  ASSERT_TRUE(old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_THAT(old.read_to_end(), testing::EndsWith("\r\n\r\nonetwelve bytes"));
}

TEST(HttpServer, ClientGoneIsSetWhileTheHandlerWaits) {
  for (const bool reset : {false, true}) {
    std::promise<bool> seen;
    std::promise<void> entered;
    Served served([&](HttpRequest, HttpExchange& exchange) -> Task<> {
      Event& gone = exchange.client_gone();
      entered.set_value();
      seen.set_value(co_await gone.wait(Deadline::in(Millis(10'000))));
      (void)co_await exchange.send(text_response("too late"));
    });
    Peer peer = served.connect();
    ASSERT_TRUE(peer.send(get));
    entered.get_future().wait();
    if (reset) {
      peer.reset_connection();
    } else {
      peer.close();
    }
    EXPECT_TRUE(seen.get_future().get());
  }
}

TEST(HttpServer, AnEarlyNextRequestIsNoGoodbye) {
  std::promise<void> first;
  std::atomic<int> calls = 0;
  Event* release = nullptr;
  std::atomic<bool> gone_set = false;
  Served served([&](HttpRequest, HttpExchange& exchange) -> Task<> {
    Event& gone = exchange.client_gone();
    if (++calls == 1) {
      Event hold(co_await asio::this_coro::executor);
      release = &hold;
      first.set_value();
      (void)co_await hold.wait(Deadline::in(Millis(10'000)));
      gone_set = gone.is_set();
    }
    (void)co_await exchange.send(text_response("answer " + std::to_string(calls)));
  });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  first.get_future().wait();
  ASSERT_TRUE(peer.send(get));
  served.loop.on_loop([&] { release->set(); });
  EXPECT_THAT(peer.read_response(), HasSubstr("answer 1"));
  EXPECT_THAT(peer.read_response(), HasSubstr("answer 2"));
  EXPECT_FALSE(gone_set);
}

TEST(HttpServer, ASlowReaderIsCutAndHoldsUpNobody) {
  HttpServerLimits limits;
  limits.write_time = Millis(200);
  std::promise<bool> cut;
  Served served(
      [&](HttpRequest request, HttpExchange& exchange) -> Task<> {
        if (request.target != "/big") co_return co_await echo(std::move(request), exchange);
        Event& gone = exchange.client_gone();
        (void)co_await exchange.begin({});
        const std::string piece(256 * 1024, 'x');
        while (co_await exchange.write(piece)) {
        }
        cut.set_value(gone.is_set());
        (void)co_await exchange.end();
      },
      limits);
  Peer slow = served.connect(4096);
  ASSERT_TRUE(slow.send("GET /big HTTP/1.1\r\nHost: x\r\n\r\n"));
  Peer quick = served.connect();
  auto future = cut.get_future();
  while (future.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
    ASSERT_TRUE(quick.send(get));
    ASSERT_THAT(quick.read_response(), HasSubstr("GET / []"));
  }
  EXPECT_TRUE(future.get());
  (void)slow.read_to_end();
  EXPECT_TRUE(slow.ended());
}

TEST(HttpServer, BeyondTheLimit503) {
  HttpServerLimits limits;
  limits.connections = 2;
  Served served(echo, limits);
  Peer first = served.connect();
  Peer second = served.connect();
  for (Peer* peer : {&first, &second}) {
    ASSERT_TRUE(peer->send(get));
    EXPECT_THAT(peer->read_response(), StartsWith("HTTP/1.1 200 "));
  }
  Peer third = served.connect();
  (void)third.send(get);
  EXPECT_THAT(third.read_response(), StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(served.loop.on_loop([&] { return served.server->connections(); }), 2u);
  third.end_sending();
  EXPECT_EQ(third.read_to_end(), "");
  first.close();
  // The place is free as soon as the server has seen the close: ask until it is so.
  std::string answer;
  for (int i = 0; i < 1000 && !answer.starts_with("HTTP/1.1 200 "); ++i) {
    Peer again = served.connect();
    (void)again.send(get);
    answer = again.read_response();
  }
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
}

TEST(HttpServer, AThrowingHandlerIs500AndABug) {
  Served served([](HttpRequest, HttpExchange&) -> Task<> {
    throw std::runtime_error("on fire");
    co_return;
  });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  const auto answer = peer.read_to_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, Not(HasSubstr("fire")));
  EXPECT_THAT(served.bug_text(), HasSubstr("on fire"));
}

TEST(HttpServer, AHandlerThatForgetsToAnswerIs500AndABug) {
  Served served([](HttpRequest, HttpExchange&) -> Task<> { co_return; });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  EXPECT_THAT(peer.read_to_end(), StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(served.bug_text(), HasSubstr("without a whole answer"));
}

TEST(HttpServer, AStreamThatBreaksOffDoesNotLookWhole) {
  Served served([](HttpRequest, HttpExchange& exchange) -> Task<> {
    (void)co_await exchange.begin({});
    (void)co_await exchange.write("half");
    throw std::runtime_error("on fire");
  });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  EXPECT_THAT(peer.read_to_end(), Not(HasSubstr("0\r\n\r\n")));
  EXPECT_TRUE(peer.ended());
  EXPECT_THAT(served.bug_text(), HasSubstr("on fire"));
}

TEST(HttpServer, AStreamThatBreaksOffWithoutChunksIsReset) {
  // Where the end of the connection is the end of the body, only a reset tells half an answer from a whole one.
  Served served([](HttpRequest, HttpExchange& exchange) -> Task<> { (void)co_await exchange.begin({}); });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send("GET / HTTP/1.0\r\n\r\n"));
  (void)peer.read_to_end();
  EXPECT_TRUE(peer.was_reset());
}

TEST(HttpServer, NoHandlerCanSplitAResponse) {
  Served served([](HttpRequest, HttpExchange& exchange) -> Task<> {
    HttpResponse response = text_response("x");
    response.headers.set("X-User", "a\r\nSet-Cookie: evil");
    (void)co_await exchange.send(std::move(response));
  });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  const auto answer = peer.read_to_end();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, Not(HasSubstr("evil")));
}

TEST(HttpServer, StopCancelsAHangingHandler) {
  std::promise<void> entered;
  auto alive = std::make_shared<int>(0);
  Served served([&, alive](HttpRequest, HttpExchange&) -> Task<> {
    const auto held = alive;
    entered.set_value();
    while (true) co_await sleep_until(Deadline::never());
  });
  Peer peer = served.connect();
  ASSERT_TRUE(peer.send(get));
  entered.get_future().wait();
  const auto users = alive.use_count();
  EXPECT_TRUE(served.stop());
  EXPECT_EQ(peer.read_to_end(), "");
  EXPECT_TRUE(peer.ended());
  EXPECT_EQ(served.server->connections(), 0u);
  EXPECT_EQ(served.server->exchanges(), 0u);
  EXPECT_EQ(alive.use_count(), users - 1);
  EXPECT_NE(served.bug.get_future().wait_for(std::chrono::seconds(0)), std::future_status::ready)
      << "cancellation is no bug";
}

TEST(HttpServer, StopCancelsAWriteToAPeerThatDoesNotRead) {
  std::promise<void> entered;
  Served served([&](HttpRequest, HttpExchange& exchange) -> Task<> {
    (void)co_await exchange.begin({});
    entered.set_value();
    const std::string piece(1024 * 1024, 'x');
    while (co_await exchange.write(piece)) {
    }
  });
  Peer peer = served.connect(4096);
  ASSERT_TRUE(peer.send(get));
  entered.get_future().wait();
  EXPECT_TRUE(served.stop());
}

TEST(HttpServer, StopAcceptingLetsTheExchangeFinish) {
  std::promise<Event*> entered;
  Served served([&](HttpRequest, HttpExchange& exchange) -> Task<> {
    Event hold(co_await asio::this_coro::executor);
    entered.set_value(&hold);
    (void)co_await hold.wait(Deadline::in(Millis(10'000)));
    (void)co_await exchange.send(text_response("done"));
  });
  Peer idle = served.connect();
  Peer busy = served.connect();
  ASSERT_TRUE(busy.send(get));
  Event* hold = entered.get_future().get();
  served.loop.on_loop([&] {
    served.server->stop_accepting();
    EXPECT_EQ(served.server->exchanges(), 1u);
  });
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_TRUE(idle.ended());
  UniqueFd refused(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(served.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(refused.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), -1);
  served.loop.on_loop([&] { hold->set(); });
  const auto answer = busy.read_to_end();
  EXPECT_THAT(answer, HasSubstr("done"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
}

TEST(HttpServer, AnswersWhoHasJustComeAlthoughItStops) {
  Served served(
      [](HttpRequest, HttpExchange& exchange) -> Task<> { (void)co_await exchange.send(text_response("done")); });
  Peer kept = served.connect();
  ASSERT_TRUE(kept.send(get));
  EXPECT_THAT(kept.read_response(), HasSubstr("done"));
  Peer comer = served.connect();
  Peer silent = served.connect();
  while (served.loop.on_loop([&] { return served.server->connections(); }) < 3) std::this_thread::yield();
  served.loop.on_loop([&] {
    EXPECT_EQ(served.server->newcomers(), 2u);
    served.server->stop_accepting();
    EXPECT_EQ(served.server->newcomers(), 2u);
  });
  EXPECT_EQ(kept.read_to_end(), "");  // between two requests: it may be closed at any time
  ASSERT_TRUE(comer.send(get));
  const auto answer = comer.read_to_end();
  EXPECT_THAT(answer, HasSubstr("done"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(silent.read_to_end(), "");
  served.loop.on_loop([&] { EXPECT_EQ(served.server->newcomers(), 0u); });
}

TEST(HttpServer, MovesWithoutCuttingAnybodyOff) {
  std::promise<Event*> entered;
  std::atomic<int> asked{0};
  Served served([&](HttpRequest, HttpExchange& exchange) -> Task<> {
    if (asked++ == 0) {
      Event hold(co_await asio::this_coro::executor);
      entered.set_value(&hold);
      (void)co_await hold.wait(Deadline::in(Millis(10'000)));
    }
    (void)co_await exchange.send(text_response("done"));
  });
  Peer idle = served.connect();
  Peer busy = served.connect();
  ASSERT_TRUE(busy.send(get));
  Event* hold = entered.get_future().get();
  // The same port on all addresses: two listeners that exclude each other.
  served.loop.on_loop([&] {
    auto elsewhere = listen_beside(TcpEndpoint{"0.0.0.0", served.port}, served.server->listener());
    ASSERT_TRUE(elsewhere) << elsewhere.error().what;
    EXPECT_TRUE(served.server->move_to(std::move(elsewhere->fd)));
  });
  EXPECT_EQ(idle.read_to_end(), "");
  Peer later = served.connect();
  ASSERT_TRUE(later.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(later.read_to_end(), HasSubstr("done"));
  served.loop.on_loop([&] { hold->set(); });
  const auto answer = busy.read_to_end();
  EXPECT_THAT(answer, HasSubstr("done"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
}

TEST(HttpServer, KnowsWhoAsksOnAUnixSocket) {
  char directory[] = "/tmp/talaria-http-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/s";
  {
    Served served(
        [](HttpRequest request, HttpExchange& exchange) -> Task<> {
          (void)co_await exchange.send(text_response(request.peer + " " + std::to_string(request.peer_uid) + " " +
                                                     std::to_string(request.peer_pid)));
        },
        {}, UnixEndpoint{path});
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    Peer peer(std::move(fd));
    ASSERT_TRUE(peer.send(get));
    const auto uid = std::to_string(getuid());
    EXPECT_THAT(peer.read_response(), HasSubstr("uid:" + uid + " " + uid + " " + std::to_string(getpid())));
  }
  std::filesystem::remove_all(directory);
}

TEST(HttpServer, GoesOnAfterDescriptorsRanOut) {
  Served served;
  Peer before = served.connect();
  ASSERT_TRUE(before.send(get));
  EXPECT_THAT(before.read_response(), StartsWith("HTTP/1.1 200 "));
  UniqueFd waiting(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // made while there are descriptors
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved), 0);
  const rlimit none{3, saved.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(served.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(waiting.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  Peer waiter(std::move(waiting));
  ASSERT_TRUE(waiter.send(get));
  // Those who are in are served on. After the second answer the loop has surely tried to accept as well.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(before.send(get));
    EXPECT_THAT(before.read_response(), StartsWith("HTTP/1.1 200 "));
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &saved), 0);
  EXPECT_THAT(waiter.read_response(), StartsWith("HTTP/1.1 200 "));
}

// Between two programs: who is answered is answered to the end, everybody else comes along unharmed.
TEST(HttpServer, HandsItsConnectionsOver) {
  auto hold = std::make_shared<std::optional<Event>>();
  Served old([hold](HttpRequest request, HttpExchange& exchange) -> Task<> {
    if (request.target == "/slow") co_await (*hold)->wait();
    (void)co_await exchange.send(text_response("old"));
  });
  old.loop.on_loop([&] { hold->emplace(old.loop.executor()); });
  Served next(
      [](HttpRequest, HttpExchange& exchange) -> Task<> { (void)co_await exchange.send(text_response("next")); });

  Peer kept = old.connect();
  ASSERT_TRUE(kept.send(get));
  EXPECT_THAT(kept.read_response(), HasSubstr("old"));
  Peer half = old.connect();
  ASSERT_TRUE(half.send("GET / HTTP/1.1\r\nHo"));
  Peer busy = old.connect();
  ASSERT_TRUE(busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
  Peer fresh = old.connect();
  while (old.loop.on_loop([&] { return old.server->connections(); }) < 4 ||
         old.loop.on_loop([&] { return old.server->exchanges(); }) < 1)
    std::this_thread::yield();

  old.loop.on_loop([&] { old.server->begin_hand_over(); });
  auto over = old.loop.start(old.server->handed_over());
  // Those that had begun to ask, or wait for an answer, get it from the one they asked.
  ASSERT_TRUE(half.send("st: x\r\n\r\n"));
  EXPECT_THAT(half.read_response(), HasSubstr("old"));
  EXPECT_NE(over.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  old.loop.on_loop([&] { (*hold)->set(); });
  EXPECT_THAT(busy.read_response(), HasSubstr("old"));
  ASSERT_EQ(over.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  old.loop.on_loop([&] { hold->reset(); });  // before its loop goes

  auto connections = old.loop.on_loop([&] { return old.server->take_handed_over(); });
  EXPECT_EQ(connections.size(), 4u);
  EXPECT_TRUE(old.stop());
  next.loop.on_loop([&] {
    for (UniqueFd& each : connections) next.server->adopt(std::move(each));
  });
  for (Peer* peer : {&kept, &half, &busy, &fresh}) {
    ASSERT_TRUE(peer->send(get));
    EXPECT_THAT(peer->read_response(), HasSubstr("next"));
  }
}

}  // namespace
}  // namespace talaria
