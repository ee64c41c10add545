#include "net/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include "net/http_server.h"
#include "net/net_test_support.h"
#include "net/tls_test_support.h"
#include "runtime/task_group.h"

namespace talaria {
namespace {

using test::Certificate;
using test::Loop;
using test::Peer;
using test::RawServer;
using test::TlsPeer;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using Outcome = std::expected<HttpResponse, HttpFailure>;

HttpRequest make_request(std::string method = "GET", std::string target = "/", std::string body = {}) {
  HttpRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  return request;
}

// A client on a loop of its own, and a listener that the test plays the server on.
class HttpClientTest : public testing::Test {
 protected:
  HttpClientTest() { reset({}); }
  ~HttpClientTest() override {
    loop.on_loop([&] { client.reset(); });
  }
  void reset(HttpClientOptions options) {
    loop.on_loop([&] { client.emplace(loop.executor(), std::move(options)); });
  }
  std::future<Outcome> ask(HttpRequest request = make_request(), Millis time = Millis(10'000)) {
    return loop.start(client->request(origin(), std::move(request), Deadline::in(time)));
  }
  [[nodiscard]] HttpOrigin origin() const { return {tls, host, server.port, {}}; }
  // Answers the next connection's first request with these bytes and closes.
  Outcome answered_with(std::string_view bytes, HttpRequest request = make_request()) {
    auto outcome = ask(std::move(request));
    Peer peer = server.accept();
    (void)peer.read_until("\r\n\r\n");
    (void)peer.send(bytes);
    peer.end_sending();
    return outcome.get();
  }

  // Two connections that were used at a time, the first one answered first.
  std::pair<Peer, Peer> two_answered() {
    auto one = ask();
    Peer first = server.accept();
    auto two = ask();
    Peer second = server.accept();
    for (auto [peer, outcome] : {std::pair(&first, &one), std::pair(&second, &two)}) {
      (void)peer->read_until("\r\n\r\n");
      EXPECT_TRUE(peer->send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
      EXPECT_TRUE(outcome->get());
    }
    return {std::move(first), std::move(second)};
  }

  Loop loop;
  RawServer server;
  bool tls = false;
  std::string host = "127.0.0.1";
  std::optional<HttpClient> client;
};

TEST_F(HttpClientTest, SendsAProperRequest) {
  auto request = make_request("POST", "/v1/x?y=z", "{}");
  request.headers.add("Authorization", "Bearer k");
  request.headers.add("Content-Length", "77");  // framing is not the caller's
  auto outcome = ask(std::move(request));
  Peer peer = server.accept();
  EXPECT_EQ(peer.read_until("\r\n\r\n{}"), "POST /v1/x?y=z HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(server.port) +
                                               "\r\nUser-Agent: talaria/" TALARIA_VERSION
                                               "\r\nAuthorization: Bearer k\r\nContent-Length: 2\r\n\r\n{}");
  ASSERT_TRUE(peer.send("HTTP/1.1 201 Created\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello"));
  const auto response = outcome.get();
  ASSERT_TRUE(response) << response.error().error.what;
  EXPECT_EQ(response->status, 201);
  EXPECT_EQ(response->headers.get("x-a"), "b");
  EXPECT_EQ(response->body, "hello");
}

TEST_F(HttpClientTest, ReadsEveryKindOfBody) {
  const auto body_of = [&](std::string_view bytes, std::string method = "GET") {
    const auto outcome = answered_with(bytes, make_request(std::move(method)));
    return outcome ? outcome->body : "failed: " + outcome.error().error.what;
  };
  EXPECT_EQ(
      body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"),
      "abcde");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\n\r\nuntil the end"), "until the end");
  EXPECT_EQ(body_of("HTTP/1.0 200 OK\r\n\r\nold"), "old");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "");
  EXPECT_EQ(body_of("HTTP/1.1 204 No Content\r\n\r\n"), "");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "HEAD"), "");
  EXPECT_EQ(body_of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 "
                    "OK\r\nContent-Length: 2\r\n\r\nok"),
            "ok");
}

struct Broken {
  const char* name;
  std::string bytes;
  ErrorKind kind;
  bool answered;
};
class HttpClientSurvives : public HttpClientTest, public testing::WithParamInterface<Broken> {};
TEST_P(HttpClientSurvives, AndSaysHowFarItCame) {
  HttpClientOptions options;
  options.header_bytes = 2000;
  options.body_bytes = 1000;
  reset(options);
  const auto outcome = answered_with(GetParam().bytes);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().error.kind, GetParam().kind) << outcome.error().error.what;
  EXPECT_EQ(outcome.error().answered, GetParam().answered);
  EXPECT_TRUE(outcome.error().sent);
  EXPECT_THAT(outcome.error().error.what, HasSubstr("http://127.0.0.1:" + std::to_string(server.port)));
}
INSTANTIATE_TEST_SUITE_P(
    Answers, HttpClientSurvives,
    testing::Values(
        Broken{"Nothing", "", ErrorKind::unavailable, false},
        Broken{"HalfStatus", "HTTP/1.1 20", ErrorKind::unavailable, false},
        Broken{"HalfHead", "HTTP/1.1 200 OK\r\nA: b", ErrorKind::unavailable, true},
        Broken{"HalfBody", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ErrorKind::unavailable, true},
        Broken{"HalfChunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc", ErrorKind::unavailable,
               true},
        Broken{"NoLastChunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
               ErrorKind::unavailable, true},
        Broken{"OnlyInterim", "HTTP/1.1 100 Continue\r\n\r\n", ErrorKind::unavailable, false},
        Broken{"Garbage", "SSH-2.0-OpenSSH_9.2\r\n\r\n", ErrorKind::invalid, false},
        Broken{"BadChunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ErrorKind::invalid, true},
        Broken{"EndlessChunkHeader", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(5000, 'a'),
               ErrorKind::invalid, true},
        Broken{"Switching", "HTTP/1.1 101 Switching Protocols\r\n\r\n", ErrorKind::invalid, false},
        Broken{"GzipCoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", ErrorKind::invalid, true},
        Broken{"InterimForEver",
               [] {
                 std::string all;
                 for (int i = 0; i < 100; ++i) all += "HTTP/1.1 100 Continue\r\n\r\n";
                 return all;
               }(),
               ErrorKind::invalid, false},
        Broken{"HugeHead", "HTTP/1.1 200 OK\r\nA: " + std::string(3000, 'a') + "\r\n\r\n", ErrorKind::limit, true},
        Broken{"EndlessHead", "HTTP/1.1 200 OK\r\nA: " + std::string(30'000, 'a'), ErrorKind::limit, true},
        Broken{"HugeLength", "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", ErrorKind::limit, true},
        Broken{"HugeBody", "HTTP/1.1 200 OK\r\n\r\n" + std::string(1001, 'a'), ErrorKind::limit, true},
        Broken{"HugeChunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'a'),
               ErrorKind::limit, true}),
    [](const auto& info) { return info.param.name; });

TEST_F(HttpClientTest, ReusesAConnectionAndReplacesAStaleOne) {
  auto first = ask();
  Peer peer = server.accept();
  const auto answer = [](Peer& p, std::string_view text) {
    (void)p.read_until("\r\n\r\n");
    EXPECT_TRUE(p.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + std::string(text)));
  };
  answer(peer, "1");
  EXPECT_EQ(first.get()->body, "1");
  auto second = ask();
  answer(peer, "2");  // on the same connection
  EXPECT_EQ(second.get()->body, "2");
  EXPECT_FALSE(server.anybody_waits());

  // The server reads the third request and closes without a word: a fresh connection takes over.
  auto third = ask(make_request("POST", "/", "body"));
  (void)peer.read_until("body");
  peer.close();
  Peer fresh = server.accept();
  answer(fresh, "3");
  EXPECT_EQ(third.get()->body, "3");

  // Closed while it was idle: no request is even tried on it.
  fresh.close();
  auto fourth = ask();
  Peer last = server.accept();
  answer(last, "4");
  EXPECT_EQ(fourth.get()->body, "4");
}

TEST_F(HttpClientTest, TriesAgainOnlyOnce) {
  auto first = ask();
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  ASSERT_TRUE(first.get());
  auto second = ask();
  (void)peer.read_until("\r\n\r\n");
  peer.close();
  Peer fresh = server.accept();
  (void)fresh.read_until("\r\n\r\n");
  fresh.close();
  const auto outcome = second.get();
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(outcome.error().sent);
  EXPECT_FALSE(outcome.error().answered);
  EXPECT_FALSE(server.anybody_waits());
}

TEST_F(HttpClientTest, NeverRepeatsWhatGotHalfAnAnswer) {
  auto first = ask();
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  ASSERT_TRUE(first.get());
  auto second = ask();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 2"));
  peer.close();
  EXPECT_FALSE(second.get());
  EXPECT_FALSE(server.anybody_waits());
}

TEST_F(HttpClientTest, DoesNotReuseWhatTheServerClosesOrIsOutOfStep) {
  for (const std::string_view bytes :
       {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}) {
    auto outcome = ask();
    Peer peer = server.accept();
    (void)peer.read_until("\r\n\r\n");
    ASSERT_TRUE(peer.send(bytes));
    ASSERT_TRUE(outcome.get());
    EXPECT_EQ(peer.read_to_end(), "");
    EXPECT_TRUE(peer.ended()) << bytes;
  }
}

TEST_F(HttpClientTest, WhatComesUnaskedIsNoAnswerToTheNextRequest) {
  auto first = ask();
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  ASSERT_TRUE(first.get());
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"));
  auto second = ask();
  Peer fresh = server.accept();
  (void)fresh.read_until("\r\n\r\n");
  ASSERT_TRUE(fresh.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"));
  EXPECT_EQ(second.get()->body, "good");
}

TEST_F(HttpClientTest, IdleConnectionsGoAfterTheirTime) {
  HttpClientOptions options;
  options.idle_time = Millis(50);
  reset(options);
  auto outcome = ask();
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  ASSERT_TRUE(outcome.get());
  EXPECT_EQ(peer.read_to_end(), "");
  EXPECT_TRUE(peer.ended());
}

TEST_F(HttpClientTest, KeepsNoMoreThanItMay) {
  HttpClientOptions options;
  options.idle_per_origin = 1;
  reset(options);
  auto [first, second] = two_answered();
  EXPECT_EQ(first.read_to_end(), "");  // the older one made room
  EXPECT_TRUE(first.ended());
}

TEST_F(HttpClientTest, DeadlineBeforeAndAfterTheHead) {
  auto silent = ask(make_request(), Millis(100));
  Peer peer = server.accept();
  const auto before = silent.get();
  ASSERT_FALSE(before);
  EXPECT_EQ(before.error().error.kind, ErrorKind::timeout);
  EXPECT_FALSE(before.error().answered);
  EXPECT_TRUE(before.error().sent);
  (void)peer.read_to_end();
  EXPECT_TRUE(peer.ended());  // given up means closed

  auto hanging = ask(make_request(), Millis(300));
  Peer second = server.accept();
  ASSERT_TRUE(second.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
  const auto after = hanging.get();
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().error.kind, ErrorKind::timeout);
  EXPECT_TRUE(after.error().answered);
}

TEST_F(HttpClientTest, AServerThatFellSilentIsCalledAnew) {
  auto [first, second] = two_answered();
  // The way to it is gone without a word, for the other kept connection as for this one.
  const auto silent = ask(make_request(), Millis(100)).get();
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().error.kind, ErrorKind::timeout);
  auto again = ask();
  Peer third = server.accept();
  (void)third.read_until("\r\n\r\n");
  ASSERT_TRUE(third.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(again.get());
}

TEST_F(HttpClientTest, DeadlineOnAServerThatDoesNotRead) {
  auto outcome = ask(make_request("POST", "/", std::string(16'000'000, 'x')), Millis(200));
  Peer peer = server.accept();
  const auto result = outcome.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error.kind, ErrorKind::timeout);
}

TEST_F(HttpClientTest, HearsARefusalInTheMiddleOfALargeBody) {
  auto outcome = ask(make_request("POST", "/", std::string(16'000'000, 'x')));
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong"));
  peer.close();  // unread bytes are left: the connection is reset behind the answer
  const auto result = outcome.get();
  ASSERT_TRUE(result) << result.error().error.what;
  EXPECT_EQ(result->status, 413);
}

TEST_F(HttpClientTest, NobodyThere) {
  const auto port = RawServer().port;  // closed again
  const auto outcome =
      loop.await(client->request({false, "127.0.0.1", port, {}}, make_request(), Deadline::in(Millis(10'000))));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().error.kind, ErrorKind::unavailable);
  EXPECT_FALSE(outcome.error().sent);
  EXPECT_EQ(outcome.error().error.what, "connect to http://127.0.0.1:" + std::to_string(port) + ": Connection refused");
}

TEST_F(HttpClientTest, TriesEveryAddressOfLocalhost) {
  host = "localhost";
  const auto outcome = answered_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  ASSERT_TRUE(outcome);
}

TEST_F(HttpClientTest, RefusesToSplitARequest) {
  std::vector<HttpRequest> evil;
  evil.push_back(make_request("GET", "/ HTTP/1.1\r\nX: y"));
  evil.push_back(make_request("GET", "/a b"));
  evil.push_back(make_request("GET", ""));
  evil.push_back(make_request("GET\r\n", "/"));
  evil.push_back(make_request());
  evil.back().headers.add("X", "a\r\nY: b");
  evil.push_back(make_request());
  evil.back().headers.add("X: y\r\nZ", "a");
  evil.push_back(make_request());
  evil.back().headers.add("X", std::string("a\0b", 3));
  for (auto& request : evil) {
    const auto outcome = ask(std::move(request)).get();
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().error.kind, ErrorKind::invalid);
    EXPECT_FALSE(outcome.error().sent);
  }
  EXPECT_FALSE(server.anybody_waits());
}

TEST_F(HttpClientTest, StreamsPiecesAsTheyCome) {
  std::vector<std::string> seen;
  std::promise<void> first_piece;
  auto outcome = loop.start(client->stream(
      origin(), make_request(), Deadline::in(Millis(10'000)),
      [&](const HttpResponse& head) {
        seen.push_back("head " + std::to_string(head.status));
        return true;
      },
      [&](std::string_view piece) {
        seen.emplace_back(piece);
        if (seen.size() == 2) first_piece.set_value();
        return true;
      }));
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"));
  first_piece.get_future().wait();  // before the rest is sent
  ASSERT_TRUE(peer.send("3\r\ntwo\r\n0\r\n\r\n"));
  const auto result = outcome.get();
  ASSERT_TRUE(result);
  EXPECT_THAT(seen, ElementsAre("head 200", "one", "two"));
  EXPECT_EQ(result->body, "");
}

TEST_F(HttpClientTest, StopsAStreamWhenToldTo) {
  for (const bool at_head : {true, false}) {
    auto outcome = loop.start(client->stream(
        origin(), make_request(), Deadline::in(Millis(10'000)), [=](const HttpResponse&) { return !at_head; },
        [=](std::string_view) { return at_head; }));
    Peer peer = server.accept();
    (void)peer.read_until("\r\n\r\n");
    ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx"));
    const auto result = outcome.get();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, 200);
    (void)peer.read_to_end();
    EXPECT_TRUE(peer.ended());
  }
}

TEST_F(HttpClientTest, CancellationClosesTheConnection) {
  std::optional<TaskGroup> group;
  loop.on_loop([&] {
    group.emplace(loop.executor());
    group->spawn("request", [](HttpClient& c, HttpOrigin o) -> Task<> {
      (void)co_await c.request(std::move(o), make_request(), Deadline::never());
    }(*client, origin()));
  });
  Peer peer = server.accept();
  (void)peer.read_until("\r\n\r\n");
  EXPECT_TRUE(loop.await(group->stop(Deadline::in(Millis(10'000)))));
  EXPECT_EQ(peer.read_to_end(), "");
  EXPECT_TRUE(peer.ended());
  loop.on_loop([&] { group.reset(); });
}

TEST_F(HttpClientTest, SpeaksToAServerOfOursOnAUnixSocket) {
  char directory[] = "/tmp/talaria-client-XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/s";
  auto listener = listen_on(UnixEndpoint{path});
  ASSERT_TRUE(listener);
  std::optional<HttpServer> own;
  loop.on_loop([&] {
    own.emplace(loop.executor(), HttpServerLimits{}, [](HttpRequest request, HttpExchange& exchange) -> Task<> {
      HttpResponse response;
      response.body = std::string(request.headers.get("Host")) + request.body;
      (void)co_await exchange.send(std::move(response));
    });
    EXPECT_TRUE(own->serve(std::move(listener->fd)));
  });
  for (int i = 0; i < 3; ++i) {
    const auto outcome = loop.await(
        client->request({false, "gateway", 80, path}, make_request("POST", "/", "!"), Deadline::in(Millis(10'000))));
    ASSERT_TRUE(outcome) << outcome.error().error.what;
    EXPECT_EQ(outcome->body, "gateway!");
  }
  EXPECT_EQ(loop.on_loop([&] { return own->connections(); }), 1u);
  EXPECT_TRUE(loop.await(own->stop(Deadline::in(Millis(10'000)))));
  loop.on_loop([&] { own.reset(); });
  const auto gone =
      loop.await(client->request({false, "gateway", 80, path + "x"}, make_request(), Deadline::in(Millis(10'000))));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().error.what, "connect to unix:" + path + "x: No such file or directory");
  std::filesystem::remove_all(directory);
}

// --- TLS
// --------------------------------------------------------------------------------------------------------------------------

class HttpClientTls : public HttpClientTest {
 protected:
  HttpClientTls() { tls = true; }
  void trust(const std::string& ca_file) {
    HttpClientOptions options;
    options.ca_file = ca_file;
    reset(options);
  }
  // The failure when a server shows `certificate`.
  std::string refused(const Certificate& certificate, int max_version = 0) {
    auto outcome = ask();
    TlsPeer peer(server.accept(), certificate, max_version);
    (void)peer.handshake();
    const std::string heard = peer.read_until("\r\n\r\n");
    EXPECT_EQ(heard, "") << "the request went to a server that was not verified";
    peer.close();
    const auto result = outcome.get();
    if (result) return "accepted";
    EXPECT_FALSE(result.error().sent);
    return result.error().error.what;
  }
};

TEST_F(HttpClientTls, TrustsTheCaFileAndReuses) {
  const Certificate certificate("DNS:localhost");
  trust(certificate.file());
  host = "localhost";
  auto outcome = ask();
  TlsPeer peer(server.accept(), certificate);
  ASSERT_TRUE(peer.handshake());
  EXPECT_EQ(peer.server_name(), "localhost");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(peer.read_until("\r\n\r\n"), StartsWith("GET / HTTP/1.1\r\n"));
    ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    const auto result = outcome.get();
    ASSERT_TRUE(result) << result.error().error.what;
    if (i == 0) outcome = ask();
  }
  EXPECT_FALSE(server.anybody_waits());
}

TEST_F(HttpClientTls, ChecksAddressesToo) {
  const Certificate right("IP:127.0.0.1");
  trust(right.file());
  auto outcome = ask();
  TlsPeer peer(server.accept(), right);
  ASSERT_TRUE(peer.handshake());
  EXPECT_EQ(peer.server_name(), "");  // RFC 6066, 3: no addresses in SNI
  (void)peer.read_until("\r\n\r\n");
  ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(outcome.get());
  const Certificate wrong("IP:127.0.0.2");
  trust(wrong.file());
  EXPECT_THAT(refused(wrong), HasSubstr("IP address mismatch"));
}

TEST_F(HttpClientTls, RefusesWhatItCanNotVerify) {
  const Certificate other_ca("DNS:localhost");
  host = "localhost";
  EXPECT_THAT(refused(Certificate("DNS:localhost")), HasSubstr("self-signed certificate"));  // the system's store
  trust(other_ca.file());
  EXPECT_THAT(refused(Certificate("DNS:localhost")), HasSubstr("certificate was refused"));
  const Certificate wrong_name("DNS:example.org");
  trust(wrong_name.file());
  EXPECT_THAT(refused(wrong_name), HasSubstr("hostname mismatch"));
  const Certificate expired("DNS:localhost", -60);
  trust(expired.file());
  EXPECT_THAT(refused(expired), HasSubstr("expired"));
}

TEST_F(HttpClientTls, RefusesOldVersions) {
  const Certificate certificate("DNS:localhost");
  trust(certificate.file());
  host = "localhost";
  EXPECT_THAT(refused(certificate, TLS1_1_VERSION), Not(HasSubstr("accepted")));
}

TEST_F(HttpClientTls, ACutIsNoEnd) {
  const Certificate certificate("DNS:localhost");
  trust(certificate.file());
  host = "localhost";
  for (const bool goodbye : {true, false}) {
    auto outcome = ask();
    TlsPeer peer(server.accept(), certificate);
    ASSERT_TRUE(peer.handshake());
    (void)peer.read_until("\r\n\r\n");
    ASSERT_TRUE(peer.send("HTTP/1.1 200 OK\r\n\r\nuntil close"));
    if (goodbye) peer.say_goodbye();
    peer.close();
    const auto result = outcome.get();
    EXPECT_EQ(result.has_value(), goodbye);
    if (!result) EXPECT_TRUE(result.error().answered);
  }
}

TEST_F(HttpClientTls, GivesUpOnAHandshakeThatHangs) {
  HttpClientOptions options;
  options.connect_time = Millis(100);
  reset(options);
  auto outcome = ask();
  Peer peer = server.accept();  // says nothing
  const auto result = outcome.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error.kind, ErrorKind::timeout);
  EXPECT_FALSE(result.error().sent);
}

TEST_F(HttpClientTls, NotTlsAtAll) {
  auto outcome = ask();
  Peer peer = server.accept();
  ASSERT_TRUE(peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"));
  const auto result = outcome.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().error.kind, ErrorKind::unavailable);
}

TEST_F(HttpClientTls, ABadCaFileIsNamed) {
  trust("/nonexistent/ca.pem");
  auto outcome = ask();
  Peer peer = server.accept();
  const auto result = outcome.get();
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().error.what, HasSubstr("/nonexistent/ca.pem"));
}

// --- Addresses
// --------------------------------------------------------------------------------------------------------------------

TEST(ParseHttpUrl, Reads) {
  const auto check = [](std::string_view text, bool tls, std::string_view host, std::uint16_t port,
                        std::string_view target) {
    const auto url = parse_http_url(text);
    ASSERT_TRUE(url) << text << ": " << url.error().what;
    EXPECT_EQ(url->origin, (HttpOrigin{tls, std::string(host), port, {}}));
    EXPECT_EQ(url->target, target);
  };
  check("http://example.org", false, "example.org", 80, "/");
  check("https://api.example.org/v1/x?y=%20z", true, "api.example.org", 443, "/v1/x?y=%20z");
  check("HTTP://127.0.0.1:11434/v1#part", false, "127.0.0.1", 11434, "/v1");
  check("https://[::1]:8443?q", true, "::1", 8443, "/?q");
  check("http://localhost:/x", false, "localhost", 80, "/x");
}

TEST(ParseHttpUrl, Refuses) {
  for (const std::string_view text :
       {"", "example.org", "ftp://example.org", "http://", "http:///x", "http://a b/", "http://x:0/", "http://x:65536/",
        "http://x:y/", "http://a%0d%0ab/", "http://x/\r\n", "https://[::1", "//x/y", "http://ex\xc3\xa4mple/"}) {
    const auto url = parse_http_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().kind, ErrorKind::invalid);
  }
}

TEST(ParseHttpUrl, NeverRepeatsASecret) {
  for (const std::string_view text :
       {"https://user:hunter2@example.org/", "https://hunter2@example.org", "https://user:hunter2@exa mple"}) {
    const auto url = parse_http_url(text);
    ASSERT_FALSE(url);
    EXPECT_THAT(url.error().what, Not(HasSubstr("hunter2")));
  }
}

}  // namespace
}  // namespace talaria
