#include "net/network_watch.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/fd.h"

namespace talaria {

namespace {

// The kernel tells of a route while its link still comes up, and routes come in bursts. A question that is asked too
// early is lost, and asked again after a second (RFC 6298 section 2, tcp(7); ARP, arp(7)).
constexpr Millis settling{100};

// A route of the table "local" is an address of this machine, nothing more.
bool leads_out(std::string_view payload) {
  rtmsg route{};
  if (payload.size() < sizeof route) return false;
  std::memcpy(&route, payload.data(), sizeof route);
  return route.rtm_table != RT_TABLE_LOCAL && (route.rtm_family == AF_INET || route.rtm_family == AF_INET6);
}

}  // namespace

bool tells_of_new_route(std::string_view messages) {
  while (messages.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header{};
    std::memcpy(&header, messages.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > messages.size()) return false;
    const auto payload = messages.substr(sizeof header, header.nlmsg_len - sizeof header);
    if (header.nlmsg_type == RTM_NEWROUTE && leads_out(payload)) return true;
    messages.remove_prefix(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), messages.size()));
  }
  return false;
}

Result<> NetworkWatch::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd) return fail_errno(errno, "open a rtnetlink socket");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, "listen to the kernel's routes");
  error_code ec;
  fd_.assign(fd.get(), ec);
  if (ec) return fail_errno(ec.value(), "watch a rtnetlink socket");
  (void)fd.release();
  return {};
}

Task<> NetworkWatch::run() {
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    const auto [ec] = co_await fd_.async_wait(asio::posix::stream_descriptor::wait_read, use_task);
    if (ec) co_return;
    bool changed = false;
    ssize_t n = 0;
    while ((n = ::read(fd_.native_handle(), buffer.data(), buffer.size())) > 0)
      changed |= tells_of_new_route({buffer.data(), static_cast<std::size_t>(n)});
    // ENOBUFS: there was more than the kernel could keep for us, so something has changed (netlink(7)).
    if (n < 0 && errno == ENOBUFS) changed = true;
    if (!changed) continue;
    co_await sleep_for(settling);
    back_.pulse();
  }
}

}  // namespace talaria
