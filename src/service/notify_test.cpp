#include "service/notify.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>

#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using testing::TemporaryDirectory;

// The manager's end: a datagram socket at a path or (name with '@') in the abstract namespace.
class NotifySocket {
 public:
  explicit NotifySocket(const std::string& name)
      : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name.starts_with('@')) address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), length) < 0)
      throw std::runtime_error("bind " + name);
  }
  // The next datagram; "(nothing)" when there is none.
  std::string receive() {
    char buffer[4096];
    const auto n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    return n < 0 ? "(nothing)" : std::string(buffer, static_cast<std::size_t>(n));
  }
  // The next datagram and the descriptor that came with it, as a manager takes them.
  std::pair<std::string, UniqueFd> receive_with_fd() {
    char buffer[4096];
    iovec text{buffer, sizeof buffer};
    alignas(cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
    msghdr message{};
    message.msg_iov = &text;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const auto n = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
    if (n < 0) return {"(nothing)", UniqueFd()};
    int passed = -1;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
    return {std::string(buffer, static_cast<std::size_t>(n)), UniqueFd(passed)};
  }

 private:
  UniqueFd fd_;
};

class NotifyTest : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
  }
  TemporaryDirectory dir_;
};

TEST_F(NotifyTest, SaysEachThingInOneDatagram) {
  NotifySocket manager(dir_ / "notify");
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  const Notifier notifier;
  EXPECT_TRUE(notifier.active());
  notifier.ready("running");
  EXPECT_EQ(manager.receive(), "READY=1\nSTATUS=running");
  notifier.status("2 turns");
  EXPECT_EQ(manager.receive(), "STATUS=2 turns");
  notifier.extend(Millis{1'500});
  EXPECT_EQ(manager.receive(), "EXTEND_TIMEOUT_USEC=1500000");
  notifier.watchdog();
  EXPECT_EQ(manager.receive(), "WATCHDOG=1");
  notifier.stopping("draining");
  EXPECT_EQ(manager.receive(), "STOPPING=1\nSTATUS=draining");
  EXPECT_EQ(manager.receive(), "(nothing)");
}

TEST_F(NotifyTest, StoresADescriptorUnderItsName) {
  NotifySocket manager(dir_ / "notify");
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  const Notifier notifier;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  notifier.store("api\nREADY=1", write_end.get());  // a name can't become another assignment
  auto [said, stored] = manager.receive_with_fd();
  EXPECT_EQ(said, "FDSTORE=1\nFDNAME=api READY=1\nFDPOLL=0");
  ASSERT_TRUE(stored);
  write_end.reset();
  EXPECT_EQ(::write(stored.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);  // it is the very pipe

  notifier.remove_stored("api");
  EXPECT_EQ(manager.receive(), "FDSTOREREMOVE=1\nFDNAME=api");
}

TEST_F(NotifyTest, RemembersWhatItTookForAProgramThatTakesOver) {
  ::setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  const Notifier notifier;
  const std::vector<std::pair<std::string, std::string>> taken{{"NOTIFY_SOCKET", "/run/systemd/notify"},
                                                               {"WATCHDOG_USEC", "30000000"}};
  EXPECT_EQ(notifier.taken(), taken);
}

TEST_F(NotifyTest, KnowsAbstractSockets) {
  const auto name = "@talaria-notify-test-" + std::to_string(::getpid());
  NotifySocket manager(name);
  ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  const Notifier notifier;
  notifier.status("here");
  EXPECT_EQ(manager.receive(), "STATUS=here");
}

TEST_F(NotifyTest, TakesTheVariablesOutOfTheEnvironment) {
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  const Notifier notifier;
  EXPECT_EQ(notifier.watchdog_interval(), Millis{30'000});
  EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
  EXPECT_EQ(std::getenv("WATCHDOG_USEC"), nullptr);
  EXPECT_EQ(std::getenv("WATCHDOG_PID"), nullptr);
}

TEST_F(NotifyTest, AWatchdogForAnotherProcessIsNotOurs) {
  ::setenv("WATCHDOG_USEC", "30000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(Notifier().watchdog_interval(), Millis{0});
  ::setenv("WATCHDOG_USEC", "soon", 1);
  EXPECT_EQ(Notifier().watchdog_interval(), Millis{0});
}

TEST_F(NotifyTest, AStatusCannotSmuggleAnotherVariable) {
  NotifySocket manager(dir_ / "notify");
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  const Notifier notifier;
  notifier.status("a\nMAINPID=1\nb");
  EXPECT_EQ(manager.receive(), "STATUS=a MAINPID=1 b");
}

TEST_F(NotifyTest, ALongStatusIsCutBetweenCharacters) {
  NotifySocket manager(dir_ / "notify");
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  const Notifier notifier;
  notifier.status(std::string(511, 'x') + "äöü");
  EXPECT_EQ(manager.receive(), "STATUS=" + std::string(511, 'x'));
}

TEST_F(NotifyTest, WithoutAManagerNothingHappens) {
  EXPECT_FALSE(Notifier().active());
  Notifier().ready("running");
  ::setenv("NOTIFY_SOCKET", "relative", 1);
  EXPECT_FALSE(Notifier().active());
  ::setenv("NOTIFY_SOCKET", ("/" + std::string(200, 'x')).c_str(), 1);
  EXPECT_FALSE(Notifier().active());
  ::setenv("NOTIFY_SOCKET", (dir_ / "gone").c_str(), 1);
  Notifier().ready("running");
}

TEST_F(NotifyTest, AStuckManagerHoldsNobodyUp) {
  NotifySocket manager(dir_ / "notify");
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  const Notifier notifier;
  const auto began = SteadyClock::now();
  for (int i = 0; i < 5'000; ++i) notifier.watchdog();  // far more than the queue holds
  notifier.stopping("draining");
  EXPECT_LT(SteadyClock::now() - began, std::chrono::seconds{5});
  EXPECT_EQ(manager.receive(), "WATCHDOG=1");
}

TEST_F(NotifyTest, AReloadIsToldWithItsTime) {
  NotifySocket manager(dir_ / "notify");
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  const Notifier notifier;
  timespec before{};
  ::clock_gettime(CLOCK_MONOTONIC, &before);
  notifier.reloading();
  const auto told = manager.receive();
  const std::string head = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_TRUE(told.starts_with(head)) << told;
  EXPECT_GE(std::stoll(told.substr(head.size())), before.tv_sec * 1'000'000LL + before.tv_nsec / 1'000);
}

}  // namespace
}  // namespace talaria
