#include "service/unit_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;
using testing::dbus_server;
using ::testing::ElementsAre;
using testing::FakePeer;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::TemporaryDirectory;

const std::string unit = "talaria-gateway@default.service";
constexpr const char* job = "/org/freedesktop/systemd1/job/42";

bool is_call(sd_bus_message* call, const char* member) {
  return sd_bus_message_is_method_call(call, nullptr, member) > 0;
}

void emit_job_removed(sd_bus_message* call, const char* result) {
  sd_bus_emit_signal(sd_bus_message_get_bus(call), systemd1::path, systemd1::manager, "JobRemoved", "uoss", 42u, job,
                     unit.c_str(), result);
}

Result<UnitControl> connect(const TemporaryDirectory& dir, SteadyClock::duration limit = 5s) {
  return UnitControl::connect({{dir / "private", false}}, Deadline::in(limit));
}

// A manager whose jobs end with `result`; `before_reply`: it says so before it answers the call that made the job.
testing::HandleCall jobs_end_with(const char* result, bool before_reply = false) {
  return [=](sd_bus_message* call) {
    if (!is_call(call, "StartUnit") && !is_call(call, "StopUnit") && !is_call(call, "RestartUnit")) {
      sd_bus_reply_method_return(call, "");
      return;
    }
    if (before_reply) emit_job_removed(call, result);
    sd_bus_reply_method_return(call, "o", job);
    if (!before_reply) emit_job_removed(call, result);
  };
}

TEST(UnitControlJobs, TheResultIsWhatTheManagerSays) {
  const std::pair<const char*, JobResult> cases[] = {{"done", JobResult::done},
                                                     {"failed", JobResult::failed},
                                                     {"canceled", JobResult::canceled},
                                                     {"timeout", JobResult::timeout},
                                                     {"dependency", JobResult::failed}};
  for (const auto& [word, wanted] : cases) {
    for (const bool before : {false, true}) {
      const TemporaryDirectory dir;
      const FakePeer peer(dir / "private", dbus_server(jobs_end_with(word, before)));
      auto control = connect(dir);
      ASSERT_TRUE(control) << control.error().what;
      const auto result = control->run_job(JobKind::start, unit, Deadline::in(5s));
      ASSERT_TRUE(result) << result.error().what;
      EXPECT_EQ(*result, wanted) << word << (before ? " before" : " after") << " the reply";
    }
  }
}

TEST(UnitControlJobs, AJobThatGoesOnIsPendingAtTheDeadline) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", dbus_server([](sd_bus_message* call) {
                        sd_bus_reply_method_return(call, is_call(call, "StopUnit") ? "o" : "", job);
                      }));
  auto control = connect(dir);
  ASSERT_TRUE(control);
  const auto result = control->run_job(JobKind::stop, unit, Deadline::in(100ms));
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(*result, JobResult::pending);
}

TEST(UnitControlJobs, AnotherUnitsJobIsNotOurs) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", dbus_server([](sd_bus_message* call) {
                        if (is_call(call, "StartUnit")) {
                          sd_bus_emit_signal(sd_bus_message_get_bus(call), systemd1::path, systemd1::manager,
                                             "JobRemoved", "uoss", 41u, "/org/freedesktop/systemd1/job/41",
                                             unit.c_str(), "done");
                          sd_bus_reply_method_return(call, "o", job);
                          emit_job_removed(call, "failed");
                        } else {
                          sd_bus_reply_method_return(call, "");
                        }
                      }));
  auto control = connect(dir);
  ASSERT_TRUE(control);
  EXPECT_EQ(control->run_job(JobKind::start, unit, Deadline::in(5s)).value_or(JobResult::pending), JobResult::failed);
}

TEST(UnitControlErrors, ARefusalSaysWhatToDo) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", dbus_server([](sd_bus_message* call) {
                        if (is_call(call, "Subscribe"))
                          sd_bus_reply_method_return(call, "");
                        else if (is_call(call, "StartUnit"))
                          sd_bus_reply_method_errorf(call, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, "not you");
                        else
                          sd_bus_reply_method_errorf(call, "org.freedesktop.systemd1.NoSuchUnit", "unit not found");
                      }));
  auto control = connect(dir);
  ASSERT_TRUE(control);
  const auto started = control->run_job(JobKind::start, unit, Deadline::in(5s));
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind, ErrorKind::permission);
  EXPECT_THAT(started.error().what, HasSubstr("root"));
  const auto stopped = control->run_job(JobKind::stop, unit, Deadline::in(5s));
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, ErrorKind::not_found);
  EXPECT_THAT(stopped.error().what, HasSubstr(unit));
}

TEST(UnitControlErrors, NothingBlocksBeyondTheDeadline) {
  struct Case {
    const char* name;
    FakePeer::Serve serve;
  };
  const Case cases[] = {
      {"closes", [](UniqueFd, const std::atomic<bool>&) {}},
      {"hangs before authentication",
       [](UniqueFd c, const std::atomic<bool>& stop) {
         char byte = 0;
         timeval patience{0, 20'000};
         ::setsockopt(c.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
         while (!stop && (::recv(c.get(), &byte, 1, 0) > 0 || errno == EAGAIN)) {
         }
       }},
      {"never answers", dbus_server([](sd_bus_message*) {})},
  };
  for (const auto& [name, serve] : cases) {
    const TemporaryDirectory dir;
    const FakePeer peer(dir / "private", serve);
    const auto began = SteadyClock::now();
    auto control = connect(dir, 200ms);
    if (control) {
      EXPECT_FALSE(control->version(Deadline::in(200ms))) << name;
    }
    EXPECT_LT(SteadyClock::now() - began, 2s) << name;
  }
}

TEST(UnitControlErrors, WithoutAManagerItSaysSo) {
  const TemporaryDirectory dir;
  const auto control = connect(dir);
  ASSERT_FALSE(control);
  EXPECT_THAT(control.error().what, HasSubstr(dir / "private"));
  EXPECT_EQ(UnitControl::connect(ManagerKind::none, Deadline::in(1s)).error().kind, ErrorKind::not_found);
}

TEST(UnitControlQuestions, ReadTheUnitsStateAndTheManagersFacts) {
  const TemporaryDirectory dir;
  const FakePeer peer(dir / "private", dbus_server([](sd_bus_message* call) {
                        const char *interface = "", *property = "";
                        if (is_call(call, "GetAll")) {
                          sd_bus_message_read(call, "s", &interface);
                          if (std::string_view(interface) == systemd1::unit_interface)
                            sd_bus_reply_method_return(call, "a{sv}", 5, "LoadState", "s", "loaded", "ActiveState", "s",
                                                       "failed", "Requires", "as", 1, "x.service", "NeedDaemonReload",
                                                       "b", 1, "FragmentPath", "s", "/etc/u");
                          else
                            sd_bus_reply_method_return(call, "a{sv}", 6, "Result", "s", "exit-code", "ExecMainStatus",
                                                       "i", 78, "ExecMainCode", "i", 1, "TimeoutStopUSec", "t",
                                                       std::uint64_t{60'000'000}, "MainPID", "u", 7u, "StatusText", "s",
                                                       "bad key");
                        } else if (is_call(call, "Get")) {
                          sd_bus_message_read(call, "ss", &interface, &property);
                          if (std::string_view(property) == "Version")
                            sd_bus_reply_method_return(call, "v", "s", "252.39-1~deb12u2");
                          else
                            sd_bus_reply_method_return(call, "v", "as", 2, "HOME=/h", "LANG=C");
                        } else if (is_call(call, "ListUnitsByPatterns")) {
                          sd_bus_reply_method_return(call, "a(ssssssouso)", 1, unit.c_str(), "d", "loaded", "active",
                                                     "running", "", "/o", 0u, "", "/");
                        } else {
                          sd_bus_reply_method_return(call, "");
                        }
                      }));
  auto control = connect(dir);
  ASSERT_TRUE(control);
  const auto deadline = Deadline::in(5s);
  const auto state = control->state(unit, deadline);
  ASSERT_TRUE(state) << state.error().what;
  EXPECT_TRUE(state->loaded());
  EXPECT_FALSE(state->up());
  EXPECT_TRUE(state->need_daemon_reload);
  EXPECT_EQ(state->fragment_path, "/etc/u");
  EXPECT_EQ(state->result, "exit-code");
  EXPECT_EQ(state->exec_main_status, 78);
  EXPECT_EQ(state->timeout_stop_usec, 60'000'000u);
  EXPECT_EQ(state->main_pid, 7);
  EXPECT_EQ(state->status_text, "bad key");
  EXPECT_EQ(control->version(deadline).value_or(""), "252.39-1~deb12u2");
  EXPECT_THAT(control->environment(deadline).value_or(std::vector<std::string>{}), ElementsAre("HOME=/h", "LANG=C"));
  const auto listed = control->list("talaria-gateway@*", deadline);
  ASSERT_TRUE(listed);
  EXPECT_THAT(*listed, ElementsAre(Pair(unit, "active")));
  EXPECT_TRUE(control->reload(deadline));
  EXPECT_TRUE(control->enable(unit, deadline));
  EXPECT_TRUE(control->disable(unit, deadline));
}

}  // namespace
}  // namespace talaria
