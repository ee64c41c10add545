#include "net/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
using testing::HasSubstr;

Deadline soon() { return Deadline::in(Millis(10'000)); }

class StreamTest : public testing::Test {
 protected:
  ~StreamTest() override {
    loop.on_loop([&] { stream.reset(); });
  }
  std::future<Result<std::unique_ptr<Stream>>> start(bool tls = false, std::string ca_file = {},
                                                     std::string host = "127.0.0.1") {
    return loop.start(dial({std::move(host), server.port, tls, std::move(ca_file)}, soon()));
  }
  Result<std::size_t> read(std::size_t max = 4096, Deadline deadline = soon()) {
    return loop.await(stream->read_some(buffer, max, deadline));
  }

  Loop loop;
  RawServer server;
  std::unique_ptr<Stream> stream;
  std::string buffer;
};

TEST_F(StreamTest, CarriesBytesBothWays) {
  auto dialled = start();
  Peer peer = server.accept();
  stream = std::move(*dialled.get());
  ASSERT_TRUE(loop.await(stream->write_all("NICK x\r\n", soon())));
  EXPECT_EQ(peer.read_until("\r\n"), "NICK x\r\n");
  ASSERT_TRUE(peer.send("hello"));
  buffer = "kept ";
  EXPECT_EQ(*read(3), 3u);
  EXPECT_EQ(*read(), 2u);
  EXPECT_EQ(buffer, "kept hello");
  peer.close();
  const auto end = read();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::unavailable);
  EXPECT_EQ(end.error().what, "connection closed");
  EXPECT_EQ(buffer, "kept hello");
}

TEST_F(StreamTest, IsUsableAfterAReadRanOutOfTime) {
  for (const bool tls : {false, true}) {
    const Certificate certificate("DNS:localhost");
    auto dialled = start(tls, certificate.file(), "localhost");
    Peer raw = server.accept();
    std::optional<TlsPeer> secure;
    if (tls) {
      secure.emplace(std::move(raw), certificate);
      ASSERT_TRUE(secure->handshake());
    }
    auto result = dialled.get();
    ASSERT_TRUE(result) << result.error().what;
    stream = std::move(*result);
    buffer.clear();
    const auto late = read(10, Deadline::in(Millis(30)));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().kind, ErrorKind::timeout);
    EXPECT_EQ(buffer, "");
    ASSERT_TRUE(tls ? secure->send("PONG") : raw.send("PONG"));
    ASSERT_TRUE(read());
    EXPECT_EQ(buffer, "PONG");
    ASSERT_TRUE(loop.await(stream->write_all("bye\n", soon())));
    EXPECT_EQ(tls ? secure->read_until("\n") : raw.read_until("\n"), "bye\n");
    loop.on_loop([&] { stream.reset(); });
  }
}

TEST_F(StreamTest, AReadThatRunsOutDoesNotHurtAWriteUnderWay) {
  auto dialled = start();
  Peer peer = server.accept();
  stream = std::move(*dialled.get());
  const std::string much(8'000'000, 'w');
  auto written = loop.start(stream->write_all(much, soon()));  // the peer does not read yet: it waits
  EXPECT_EQ(read(10, Deadline::in(Millis(50))).error().kind, ErrorKind::timeout);
  std::string got;
  while (got.size() < much.size()) {
    const auto piece = peer.read_until("w");
    if (piece.empty()) break;
    got += piece;
    if (got.size() == 1) got += peer.read_until(std::string(much.size() - 1, 'w'));
  }
  EXPECT_EQ(got.size(), much.size());
  EXPECT_TRUE(written.get());
}

TEST_F(StreamTest, WritesRunOutOfTimeToo) {
  auto dialled = start();
  Peer peer = server.accept();
  stream = std::move(*dialled.get());
  const auto result = loop.await(stream->write_all(std::string(16'000'000, 'x'), Deadline::in(Millis(50))));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout);
}

TEST_F(StreamTest, CloseEndsAReadUnderWay) {
  auto dialled = start();
  Peer peer = server.accept();
  stream = std::move(*dialled.get());
  auto reading = loop.start(stream->read_some(buffer, 10, Deadline::never()));
  loop.on_loop([&] { stream->close(); });
  EXPECT_FALSE(reading.get());
  EXPECT_EQ(peer.read_to_end(), "");
  EXPECT_TRUE(peer.ended());
  EXPECT_FALSE(loop.await(stream->write_all("x", soon())));
}

TEST_F(StreamTest, CancellationUnwinds) {
  auto dialled = start();
  Peer peer = server.accept();
  stream = std::move(*dialled.get());
  std::optional<TaskGroup> group;
  std::promise<void> reading;
  loop.on_loop([&] {
    group.emplace(loop.executor());
    group->spawn("read", [](Stream& s, std::string& into, std::promise<void>& begun) -> Task<> {
      begun.set_value();
      (void)co_await s.read_some(into, 10, Deadline::never());
      ADD_FAILURE() << "a cancelled read returned";
    }(*stream, buffer, reading));
  });
  reading.get_future().wait();
  EXPECT_TRUE(loop.await(group->stop(soon())));
  EXPECT_EQ(buffer, "");
  loop.on_loop([&] { group.reset(); });
}

TEST_F(StreamTest, TlsIsVerifiedAndSaysGoodbye) {
  const Certificate certificate("DNS:localhost");
  auto dialled = start(true, certificate.file(), "localhost");
  TlsPeer peer(server.accept(), certificate);
  ASSERT_TRUE(peer.handshake());
  auto result = dialled.get();
  ASSERT_TRUE(result) << result.error().what;
  stream = std::move(*result);
  ASSERT_TRUE(peer.send("hi"));
  ASSERT_TRUE(read());
  EXPECT_EQ(buffer, "hi");
  loop.on_loop([&] { stream->close(); });
  EXPECT_TRUE(peer.hears_goodbye());
}

TEST_F(StreamTest, TlsRefusesAStrangersCertificate) {
  const Certificate certificate("DNS:localhost");
  auto dialled = start(true, {}, "localhost");
  TlsPeer peer(server.accept(), certificate);
  (void)peer.handshake();
  const auto result = dialled.get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::permission);
  EXPECT_THAT(result.error().what, HasSubstr("connect to localhost:" + std::to_string(server.port)));
  EXPECT_THAT(result.error().what, HasSubstr("self-signed"));
}

TEST_F(StreamTest, NamesThatDoNotExist) {
  const auto result = loop.await(dial({"nothing.invalid", 1, false, {}}, soon()));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().what, HasSubstr("nothing.invalid"));
}

}  // namespace
}  // namespace talaria
