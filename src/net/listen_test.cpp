#include "net/listen.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace talaria {
namespace {

struct Temporary {
  Temporary() {
    char name[] = "/tmp/talaria-listen-XXXXXX";
    path = mkdtemp(name);
  }
  ~Temporary() { std::filesystem::remove_all(path); }
  std::string path;
};

TEST(ParseEndpoint, AcceptsWhatItWrites) {
  for (const char* text :
       {"127.0.0.1:8790", "[::1]:8790", "localhost:0", "0.0.0.0:65535", "unix:/run/talaria/api.sock"}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_TRUE(endpoint) << text << ": " << endpoint.error().what;
    EXPECT_EQ(to_string(*endpoint), text);
  }
}

TEST(ParseEndpoint, RefusesAndNamesTheInput) {
  const std::string too_long = "unix:/" + std::string(107, 'x');
  for (const std::string text : {"", "127.0.0.1", ":8790", "example.org:80", "127.0.0.1:65536", "127.0.0.1:-1",
                                 "127.0.0.1:80x", "127.0.0.1:", "::1:80", "[127.0.0.1]:80", "[]:80", "[::1]",
                                 "unix:", "unix:relative", "1.2.3:4", too_long.c_str()}) {
    const auto endpoint = parse_endpoint(text);
    ASSERT_FALSE(endpoint) << text;
    EXPECT_EQ(endpoint.error().kind, ErrorKind::invalid);
    if (text != too_long)
      EXPECT_NE(endpoint.error().what.find("\"" + text.substr(text.starts_with("unix:") ? 5 : 0)), std::string::npos)
          << endpoint.error().what;
  }
  EXPECT_TRUE(parse_endpoint("unix:/" + std::string(106, 'x')));
}

TEST(Loopback, KnowsIt) {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "unix:/x"}) {
    EXPECT_TRUE(is_loopback(*parse_endpoint(text))) << text;
  }
  for (const char* text : {"0.0.0.0:1", "128.0.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(is_loopback(*parse_endpoint(text))) << text;
  }
}

TEST(ListenTcp, GivesTheRealPortAndSafeDescriptors) {
  auto listener = listen_on(TcpEndpoint{"127.0.0.1", 0});
  ASSERT_TRUE(listener);
  EXPECT_NE(std::get<TcpEndpoint>(listener->endpoint).port, 0);
  EXPECT_EQ(fcntl(listener->fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(fcntl(listener->fd.get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_TRUE(listen_on(TcpEndpoint{"::1", 0}) || access("/proc/net/if_inet6", F_OK) != 0);
}

TEST(ListenTcp, NamesWhoHoldsThePort) {
  auto first = listen_on(TcpEndpoint{"127.0.0.1", 0});
  ASSERT_TRUE(first);
  const auto second = listen_on(first->endpoint);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  EXPECT_NE(second.error().what.find("process " + std::to_string(getpid()) + " (net_test)"), std::string::npos)
      << second.error().what;
}

TEST(ListenUnix, PrivateFromTheStartAndReplacesOnlyTheDead) {
  const Temporary directory;
  const UnixEndpoint endpoint{directory.path + "/s"};
  const mode_t before = umask(0);
  auto first = listen_on(endpoint);
  umask(before);
  ASSERT_TRUE(first) << first.error().what;
  struct stat info{};
  ASSERT_EQ(stat(endpoint.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);

  const auto alive = listen_on(endpoint);
  ASSERT_FALSE(alive);
  EXPECT_EQ(alive.error().kind, ErrorKind::conflict);

  first->fd.reset();  // the file stays, nobody listens
  EXPECT_TRUE(listen_on(endpoint));
}

TEST(ListenUnix, LeavesOtherFilesAlone) {
  const Temporary directory;
  const std::string path = directory.path + "/precious";
  std::ofstream(path) << "data";
  const auto listener = listen_on(UnixEndpoint{path});
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().kind, ErrorKind::conflict);
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
  EXPECT_FALSE(listen_on(UnixEndpoint{directory.path + "/missing/s"}));
}

// What a manager's fd store does: a second descriptor of the same socket.
UniqueFd copy_of(const Listener& listener) { return UniqueFd(fcntl(listener.fd.get(), F_DUPFD_CLOEXEC, 3)); }

TEST(AdoptListener, GoesOnWithTheSameSocket) {
  for (const Endpoint& wanted : {Endpoint{TcpEndpoint{"127.0.0.1", 0}}, Endpoint{TcpEndpoint{"localhost", 0}}}) {
    auto first = listen_on(wanted);
    ASSERT_TRUE(first);
    for (const Endpoint& again : {first->endpoint, wanted}) {  // the very port, and "any"
      auto kept = copy_of(*first);
      const auto adopted = adopt_listener(kept, again);
      ASSERT_TRUE(adopted) << adopted.error().what;
      EXPECT_FALSE(kept);
      EXPECT_EQ(to_string(adopted->endpoint), to_string(first->endpoint));
    }
  }
}

TEST(AdoptListener, RefusesAnotherAddressAndKeepsItsHandsOff) {
  auto first = listen_on(TcpEndpoint{"127.0.0.1", 0});
  ASSERT_TRUE(first);
  const std::uint16_t port = std::get<TcpEndpoint>(first->endpoint).port;
  for (const Endpoint& other :
       {Endpoint{TcpEndpoint{"127.0.0.2", port}}, Endpoint{TcpEndpoint{"::1", port}},
        Endpoint{TcpEndpoint{"127.0.0.1", static_cast<std::uint16_t>(port ^ 1)}}, Endpoint{UnixEndpoint{"/tmp/x"}}}) {
    auto kept = copy_of(*first);
    const auto adopted = adopt_listener(kept, other);
    ASSERT_FALSE(adopted) << to_string(other);
    EXPECT_EQ(adopted.error().kind, ErrorKind::conflict);
    EXPECT_TRUE(kept);
  }
}

TEST(AdoptListener, RefusesWhatDoesNotListen) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(adopt_listener(socket, TcpEndpoint{"0.0.0.0", 0}));
  UniqueFd file(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(adopt_listener(file, TcpEndpoint{"127.0.0.1", 1}));
}

TEST(AdoptListener, OfAPathThatIsGoneServesNobody) {
  const Temporary directory;
  const UnixEndpoint endpoint{directory.path + "/s"};
  auto first = listen_on(endpoint);
  ASSERT_TRUE(first);
  auto kept = copy_of(*first);
  EXPECT_TRUE(adopt_listener(kept, endpoint));
  kept = copy_of(*first);
  EXPECT_FALSE(adopt_listener(kept, UnixEndpoint{directory.path + "/t"}));
  unlink(endpoint.path.c_str());
  EXPECT_FALSE(adopt_listener(kept, endpoint));
}

TEST(ListenBeside, MakesRoomBesideOursAlone) {
  auto ours = listen_on(TcpEndpoint{"127.0.0.1", 0});
  ASSERT_TRUE(ours);
  const auto port = std::get<TcpEndpoint>(ours->endpoint).port;
  EXPECT_FALSE(listen_on(TcpEndpoint{"0.0.0.0", port}));
  EXPECT_FALSE(listen_beside(TcpEndpoint{"0.0.0.0", port}, -1));
  {
    const auto beside = listen_beside(TcpEndpoint{"0.0.0.0", port}, ours->fd.get());
    ASSERT_TRUE(beside) << beside.error().what;
  }
  EXPECT_FALSE(listen_on(TcpEndpoint{"0.0.0.0", port})) << "the port stayed open to others";
  auto theirs = listen_on(TcpEndpoint{"127.0.0.1", 0});
  EXPECT_FALSE(listen_beside(TcpEndpoint{"0.0.0.0", std::get<TcpEndpoint>(theirs->endpoint).port}, ours->fd.get()));
}

}  // namespace
}  // namespace talaria
