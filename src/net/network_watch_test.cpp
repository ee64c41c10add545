#include "net/network_watch.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <rapidcheck/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <cstring>

#include "runtime/task_group.h"

namespace talaria {
namespace {

std::string route(unsigned char table, unsigned short type = RTM_NEWROUTE, unsigned char family = AF_INET) {
  struct {
    nlmsghdr header;
    rtmsg body;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = type;
  message.body.rtm_family = family;
  message.body.rtm_table = table;
  return {reinterpret_cast<const char*>(&message), sizeof message};
}

TEST(NetworkWatch, NewRoutesThatLeadOut) {
  EXPECT_TRUE(tells_of_new_route(route(RT_TABLE_MAIN)));
  EXPECT_TRUE(tells_of_new_route(route(RT_TABLE_LOCAL) + route(RT_TABLE_MAIN, RTM_NEWROUTE, AF_INET6)));
  EXPECT_FALSE(tells_of_new_route(route(RT_TABLE_LOCAL)));
  EXPECT_FALSE(tells_of_new_route(route(RT_TABLE_MAIN, RTM_DELROUTE)));
  EXPECT_FALSE(tells_of_new_route(route(RT_TABLE_MAIN, RTM_NEWROUTE, 128)));  // multicast routing
  for (std::size_t cut = 0; cut < sizeof(nlmsghdr) + sizeof(rtmsg); ++cut)
    EXPECT_FALSE(tells_of_new_route(route(RT_TABLE_MAIN).substr(0, cut)));
}
RC_GTEST_PROP(NetworkWatch, NoBytesHarm, (const std::string& bytes)) { (void)tells_of_new_route(bytes); }

// In a network of its own, so that nothing of the machine changes.
int watch_an_interface_come_up() {
  if (::unshare(CLONE_NEWNET) != 0) return 10;
  if (std::system("ip link set lo up") != 0) return 11;
  asio::io_context loop(1);
  NetworkWatch watch(loop.get_executor());
  if (!watch.open()) return 12;
  TaskGroup tasks(loop.get_executor());
  int result = 13;
  tasks.spawn("watch", watch.run());
  tasks.spawn("test", [](NetworkWatch& w, TaskGroup& all, int& told) -> Task<> {
    const auto begun = SteadyClock::now();
    if (std::system("ip route add 10.99.0.0/16 dev lo") == 0 &&
        co_await w.back().wait(Deadline::in(std::chrono::seconds(5))))
      told = SteadyClock::now() - begun < Millis{100} ? 14 : 0;  // not before the network has settled
    all.cancel();
  }(watch, tasks, result));
  loop.run();
  return result;
}

TEST(NetworkWatch, ARouteThatTheKernelAddsIsHeardOf) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(watch_an_interface_come_up());
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace talaria
