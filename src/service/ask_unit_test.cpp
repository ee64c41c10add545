#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <future>

#include "runtime/task_group.h"
#include "service/bus.h"
#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;
using testing::dbus_server;
using testing::FakePeer;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

const std::string unit = "talaria-gateway@default.service";

Result<UnitAnswer> ask(std::vector<BusEndpoint> endpoints, SteadyClock::duration limit) {
  asio::io_context loop;
  auto answer = asio::co_spawn(loop, ask_unit_at(std::move(endpoints), unit, Deadline::in(limit)), asio::use_future);
  loop.run();
  return answer.get();
}

// Waits until the other side has closed or the test ends.
void hold(const UniqueFd& connection, const std::atomic<bool>& stopping) {
  char byte = 0;
  timeval patience{0, 20'000};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  while (!stopping && (::recv(connection.get(), &byte, 1, 0) > 0 || errno == EAGAIN)) {
  }
}

struct FakeUnit {
  const char* active = "deactivating";
  const char* sub = "stop-sigterm";
  std::uint32_t job = 17;
  const char* job_type = "stop";
  const char* result = "success";
  std::uint32_t main_pid = 4711;
  const char* system_state = "running";
};

testing::HandleCall manager_with(FakeUnit fake) {
  return [fake](sd_bus_message* call) {
    if (sd_bus_message_is_method_call(call, systemd1::manager, "ListUnitsByNames") > 0) {
      char** names = nullptr;
      sd_bus_message_read_strv(call, &names);
      EXPECT_EQ(std::string(names[0]), unit);
      for (char** name = names; *name != nullptr; ++name) std::free(*name);
      std::free(names);
      sd_bus_reply_method_return(call, "a(ssssssouso)", 1, unit.c_str(), "Talaria", "loaded", fake.active, fake.sub, "",
                                 unit_object(unit).c_str(), fake.job, fake.job_type,
                                 fake.job != 0 ? "/org/freedesktop/systemd1/job/17" : "/");
      return;
    }
    const char *interface = nullptr, *property = nullptr;
    sd_bus_message_read(call, "ss", &interface, &property);
    const std::string_view name(property);
    const std::string path = sd_bus_message_get_path(call);
    if (name == "Result" && path == "/org/freedesktop/systemd1/unit/talaria_2dgateway_40default_2eservice")
      sd_bus_reply_method_return(call, "v", "s", fake.result);
    else if (name == "MainPID")
      sd_bus_reply_method_return(call, "v", "u", fake.main_pid);
    else if (name == "NRestarts")
      sd_bus_reply_method_return(call, "v", "u", 3u);
    else if (name == "StatusText")
      sd_bus_reply_method_return(call, "v", "s", "draining: 2 turns");
    else if (name == "SystemState")
      sd_bus_reply_method_return(call, "v", "s", fake.system_state);
    else
      sd_bus_reply_method_errorf(call, SD_BUS_ERROR_UNKNOWN_PROPERTY, "no %s at %s", property, path.c_str());
  };
}

TEST(AskUnit, ReadsWhatTheManagerSays) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", dbus_server(manager_with({})));
  const auto answer = ask({{dir / "private", false}}, 5s);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->active_state, "deactivating");
  EXPECT_EQ(answer->sub_state, "stop-sigterm");
  EXPECT_EQ(answer->job_type, "stop");
  EXPECT_EQ(answer->result, "success");
  EXPECT_EQ(answer->main_pid, 4711);
  EXPECT_EQ(answer->restarts, 3u);
  EXPECT_EQ(answer->status_text, "draining: 2 turns");
  EXPECT_FALSE(answer->system_stopping);
  EXPECT_EQ(answer->via, "private socket " + (dir / "private"));
}

TEST(AskUnit, NoJobIsAnEmptyJobType) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", dbus_server(manager_with({.active = "active",
                                                                 .sub = "running",
                                                                 .job = 0,
                                                                 .job_type = "",
                                                                 .result = "oom-kill",
                                                                 .system_state = "stopping"})));
  const auto answer = ask({{dir / "private", false}}, 5s);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->job_type, "");
  EXPECT_EQ(answer->result, "oom-kill");
  EXPECT_TRUE(answer->system_stopping);
}

TEST(AskUnit, AMissingSocketLeavesTheNextOneItsTime) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "second", dbus_server(manager_with({})));
  const auto answer = ask({{dir / "nothing-here", false}, {dir / "second", false}}, 5s);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_THAT(answer->via, HasSubstr("second"));
}

TEST(AskUnit, AHangingPrivateSocketLeavesTheBusItsShare) {
  const TemporaryDirectory dir;
  const FakePeer hangs(dir / "private", [](UniqueFd c, const std::atomic<bool>& stop) { hold(c, stop); });
  const FakePeer works(dir / "second", dbus_server(manager_with({})));
  const auto answer = ask({{dir / "private", false}, {dir / "second", false}}, 1s);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_THAT(answer->via, HasSubstr("second"));
}

// Whatever the peer does, the question ends by its deadline, with an error that names the socket.
struct Misbehaviour {
  const char* name;
  FakePeer::Serve serve;
};
class AskUnitBadPeer : public ::testing::TestWithParam<Misbehaviour> {};

TEST_P(AskUnitBadPeer, EndsByTheDeadlineWithAnError) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", GetParam().serve);
  const auto began = SteadyClock::now();
  const auto answer = ask({{dir / "private", false}}, 250ms);
  const auto took = SteadyClock::now() - began;
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, HasSubstr(dir / "private"));
  EXPECT_TRUE(answer.error().kind == ErrorKind::timeout || answer.error().kind == ErrorKind::unavailable ||
              answer.error().kind == ErrorKind::internal)
      << to_string(answer.error().kind);
  EXPECT_LT(took, 2s) << "the deadline was 250 ms";
}

void send_text(const UniqueFd& connection, std::string_view text) {
  (void)::send(connection.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

INSTANTIATE_TEST_SUITE_P(
    , AskUnitBadPeer,
    ::testing::Values(Misbehaviour{"hangs", [](UniqueFd c, const std::atomic<bool>& stop) { hold(c, stop); }},
                      Misbehaviour{"closes", [](UniqueFd, const std::atomic<bool>&) {}},
                      Misbehaviour{"garbage_instead_of_auth",
                                   [](UniqueFd c, const std::atomic<bool>& stop) {
                                     send_text(c, std::string("\xff\x00\r\n\r\nHTTP/1.1 400 Bad Request\r\n", 30));
                                     hold(c, stop);
                                   }},
                      Misbehaviour{"garbage_after_auth",
                                   [](UniqueFd c, const std::atomic<bool>& stop) {
                                     send_text(c, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n");
                                     send_text(c, std::string(4096, '\xee'));
                                     hold(c, stop);
                                   }},
                      Misbehaviour{"half_a_message",
                                   [](UniqueFd c, const std::atomic<bool>& stop) {
                                     send_text(c, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n");
                                     send_text(c, std::string("l\x02\x01\x01\x10\x00\x00\x00", 8));
                                     hold(c, stop);
                                   }},
                      Misbehaviour{"closes_after_auth",
                                   [](UniqueFd c, const std::atomic<bool>&) {
                                     send_text(c, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n");
                                   }},
                      Misbehaviour{"never_answers", dbus_server([](sd_bus_message*) {})},
                      Misbehaviour{"answers_with_errors", dbus_server([](sd_bus_message* call) {
                                     sd_bus_reply_method_errorf(call, SD_BUS_ERROR_ACCESS_DENIED, "not you");
                                   })},
                      Misbehaviour{"answers_with_other_types", dbus_server([](sd_bus_message* call) {
                                     sd_bus_reply_method_return(call, "t", std::uint64_t{1});
                                   })},
                      Misbehaviour{"floods",
                                   [](UniqueFd c, const std::atomic<bool>& stop) {
                                     send_text(c, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n");
                                     const std::string noise(65536, 'l');
                                     while (!stop && ::send(c.get(), noise.data(), noise.size(), MSG_NOSIGNAL) > 0) {
                                     }
                                   }}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(AskUnit, OtherTasksRunWhileItWaits) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", [](UniqueFd c, const std::atomic<bool>& stop) { hold(c, stop); });
  asio::io_context loop;
  int ticks = 0;
  bool done = false;
  TaskGroup group(loop.get_executor());
  const std::vector<BusEndpoint> endpoints{{dir / "private", false}};
  group.spawn("ask", [](auto ends, bool& finished) -> Task<> {
    (void)co_await ask_unit_at(std::move(ends), unit, Deadline::in(200ms));
    finished = true;
  }(endpoints, done));
  group.spawn("tick", [](int& n, bool& finished) -> Task<> {
    while (true) {
      if (finished) co_return;
      co_await sleep_for(10ms);
      ++n;
    }
  }(ticks, done));
  loop.run();
  EXPECT_GE(ticks, 5) << "a blocked loop ticks once";
}

TEST(AskUnit, CancellingEndsItAtOnce) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", [](UniqueFd c, const std::atomic<bool>& stop) { hold(c, stop); });
  asio::io_context loop;
  TaskGroup group(loop.get_executor());
  const auto task = group.spawn("ask", [](std::string path) -> Task<> {
    std::vector<BusEndpoint> endpoints;
    endpoints.push_back({path, false});
    (void)co_await ask_unit_at(endpoints, unit, Deadline::in(60s));
  }(dir / "private"));
  group.spawn("cancel", [](TaskGroup::Handle victim) -> Task<> {
    co_await sleep_for(20ms);
    victim.cancel();
  }(task));
  loop.run_for(5s);
  EXPECT_EQ(group.size(), 0u);
}

TEST(AskUnit, NobodyToAsk) {
  const auto answer = ask(manager_endpoints(ManagerKind::none), 1s);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::not_found);
}

TEST(ManagerEndpoints, ThePrivateSocketComesFirst) {
  const auto root = manager_endpoints(ManagerKind::systemd_system, "", 0);
  ASSERT_EQ(root.size(), 2u);
  EXPECT_EQ(to_string(root[0]), "private socket /run/systemd/private");
  EXPECT_EQ(to_string(root[1]), "bus /run/dbus/system_bus_socket");
  const auto service_user = manager_endpoints(ManagerKind::systemd_system, "", 998);
  ASSERT_EQ(service_user.size(), 1u);
  EXPECT_TRUE(service_user[0].bus);
  const auto user = manager_endpoints(ManagerKind::systemd_user, "", 1000);
  ASSERT_EQ(user.size(), 2u);
  EXPECT_EQ(to_string(user[0]), "private socket /run/user/1000/systemd/private");
  EXPECT_EQ(to_string(user[1]), "bus /run/user/1000/bus");
}

}  // namespace
}  // namespace talaria
