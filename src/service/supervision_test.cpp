#include "service/supervision.h"

#include <gtest/gtest.h>

namespace talaria {
namespace {

constexpr std::string_view user_path =
    "/user.slice/user-1000.slice/user@1000.service/app.slice/app-talaria\\x2dgateway.slice/"
    "talaria-gateway@work.service";

SupervisionFacts system_service() {
  return {.pid = 4711,
          .parent_pid = 1,
          .parent_comm = "systemd",
          .notify_socket = true,
          .systemd_exec_pid = 4711,
          .cgroup = "0::/system.slice/system-talaria\\x2dgateway.slice/talaria-gateway@default.service\n"};
}

TEST(UnitOfCgroupPath, TakesTheLastService) {
  EXPECT_EQ(unit_of_cgroup_path("/system.slice/talaria-gateway@default.service"), "talaria-gateway@default.service");
  EXPECT_EQ(unit_of_cgroup_path(user_path), "talaria-gateway@work.service");
  EXPECT_EQ(unit_of_cgroup_path("/system.slice/outer.service/payload/sub"), "outer.service");
}

TEST(UnitOfCgroupPath, KeepsTheUnitsOwnEscapes) {
  EXPECT_EQ(unit_of_cgroup_path("/system.slice/a\\x2db@c\\x2fd.service"), "a\\x2db@c\\x2fd.service");
}

TEST(UnitOfCgroupPath, RemovesTheCgroupsPrefix) {
  EXPECT_EQ(unit_of_cgroup_path("/system.slice/_cpu.service"), "cpu.service");
}

TEST(UnitOfCgroupPath, TheUserManagerIsNotAUnitOfItself) {
  EXPECT_EQ(unit_of_cgroup_path("/user.slice/user-1000.slice/user@1000.service/init.scope"), "");
  EXPECT_EQ(unit_of_cgroup_path("/user.slice/user-1000.slice/session-3.scope"), "");
  EXPECT_EQ(unit_of_cgroup_path("/"), "");
  EXPECT_EQ(unit_of_cgroup_path(""), "");
  EXPECT_EQ(unit_of_cgroup_path("/.service"), "");
}

TEST(ServiceCgroupPath, PrefersTheUnifiedHierarchy) {
  EXPECT_EQ(service_cgroup_path("4:memory:/x\n1:name=systemd:/old.service\n0::/system.slice/new.service\n"),
            "/system.slice/new.service");
  EXPECT_EQ(service_cgroup_path("1:name=systemd:/system.slice/old.service\n0::/\n"), "/system.slice/old.service");
  EXPECT_EQ(service_cgroup_path("0::/system.slice/a.service (deleted)\n"), "/system.slice/a.service");
  EXPECT_EQ(service_cgroup_path("0::/with:colon.service\n"), "/with:colon.service");
  EXPECT_EQ(service_cgroup_path("nonsense\n\n::\n"), "");
}

TEST(DecideSupervision, SystemService) {
  const auto found = decide_supervision(system_service());
  EXPECT_EQ(found.manager, ManagerKind::systemd_system);
  EXPECT_EQ(found.manager_pid, 1);
  EXPECT_EQ(found.unit, "talaria-gateway@default.service");
  EXPECT_TRUE(found.supervised());
}

TEST(DecideSupervision, UserService) {
  auto facts = system_service();
  facts.parent_pid = 900;
  facts.cgroup = "0::" + std::string(user_path) + "\n";
  const auto found = decide_supervision(facts);
  EXPECT_EQ(found.manager, ManagerKind::systemd_user);
  EXPECT_EQ(found.manager_pid, 900);
  EXPECT_EQ(found.unit, "talaria-gateway@work.service");
}

TEST(DecideSupervision, AShellInsideAServiceIsNotSupervised) {
  auto facts = system_service();
  facts.parent_comm = "bash";
  EXPECT_FALSE(decide_supervision(facts).supervised());
}

TEST(DecideSupervision, AnOrphanThatSystemdAdoptedIsNotSupervised) {
  auto facts = system_service();
  facts.systemd_exec_pid = 4000;  // its parent, which has ended, was the service
  EXPECT_FALSE(decide_supervision(facts).supervised());
  facts.notify_socket = false;
  facts.systemd_exec_pid.reset();
  EXPECT_FALSE(decide_supervision(facts).supervised());
}

TEST(DecideSupervision, ATypeSimpleServiceIsSupervisedWithoutNotifySocket) {
  auto facts = system_service();
  facts.notify_socket = false;
  EXPECT_TRUE(decide_supervision(facts).supervised());
}

TEST(DecideSupervision, AnOldSystemdSetsNotifySocketOnly) {
  auto facts = system_service();
  facts.systemd_exec_pid.reset();
  EXPECT_TRUE(decide_supervision(facts).supervised());
}

TEST(DecideSupervision, ADesktopTerminalsScopeIsNotSupervised) {
  auto facts = system_service();
  facts.parent_pid = 900;
  facts.notify_socket = false;
  facts.cgroup = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n";
  EXPECT_FALSE(decide_supervision(facts).supervised());
}

SupervisionFacts child_of(std::string comm, int parent_pid = 900) {
  SupervisionFacts facts;
  facts.pid = 4711;
  facts.parent_pid = parent_pid;
  facts.parent_comm = std::move(comm);
  facts.working_directory = "/etc/sv/talaria";
  return facts;
}

TEST(DecideSupervision, RunitAndS6AreTheParentAndTheServiceDirectoryIsOurs) {
  const auto runit = decide_supervision(child_of("runsv"));
  EXPECT_EQ(runit.manager, ManagerKind::runit);
  EXPECT_EQ(runit.manager_pid, 900);
  EXPECT_EQ(runit.unit, "/etc/sv/talaria");
  EXPECT_EQ(decide_supervision(child_of("s6-supervise")).manager, ManagerKind::s6);
  EXPECT_TRUE(runit.starts_us_again());
}

TEST(DecideSupervision, SupervisordsVariablesCountOnlyBelowSupervisord) {
  auto facts = child_of("bash");
  facts.supervisor_group = "talaria";
  facts.supervisor_process = "talaria";
  facts.supervisor_server = "unix:///run/supervisor.sock";
  EXPECT_FALSE(decide_supervision(facts).supervised());  // a shell that supervisord started, or a child of one
  facts.parent_comm = "supervisord";
  const auto found = decide_supervision(facts);
  EXPECT_EQ(found.manager, ManagerKind::supervisord);
  EXPECT_EQ(found.unit, "talaria:talaria");
  EXPECT_EQ(found.server, "unix:///run/supervisor.sock");
  facts.parent_comm = "python3";
  facts.parent_command = "python3 -m supervisor.supervisord -n ";
  EXPECT_EQ(decide_supervision(facts).manager, ManagerKind::supervisord);
}

TEST(DecideSupervision, PidOneAndTheChildOfAMinimalInitAreAContainers) {
  auto facts = child_of("", 0);
  EXPECT_FALSE(decide_supervision(facts).supervised());  // `docker exec`: the parent is outside, but we are not PID 1
  facts.pid = 1;
  const auto first = decide_supervision(facts);
  EXPECT_EQ(first.manager, ManagerKind::container);
  EXPECT_EQ(first.manager_pid, 0);
  EXPECT_FALSE(first.starts_us_again());
  EXPECT_EQ(decide_supervision(child_of("tini", 1)).manager_pid, 1);
  EXPECT_EQ(decide_supervision(child_of("docker-init", 1)).manager, ManagerKind::container);
  EXPECT_FALSE(decide_supervision(child_of("tini", 900)).supervised());  // a subreaper somewhere, no container
  EXPECT_FALSE(decide_supervision(child_of("sh", 1)).supervised());      // passes no signal on
}

TEST(DecideSupervision, LaunchdIsPidOne) {
  EXPECT_EQ(decide_supervision(child_of("launchd", 1)).manager, ManagerKind::launchd);
  EXPECT_FALSE(decide_supervision(child_of("launchd", 900)).supervised());
}

TEST(DecideSupervision, NobodyIsNobody) {
  const auto found = decide_supervision(child_of("bash"));
  EXPECT_FALSE(found.supervised());
  EXPECT_FALSE(found.starts_us_again());
}

TEST(CommandsFor, AreTheManagersOwn) {
  EXPECT_EQ(commands_for("runit", "/etc/sv/t"), "`sv restart /etc/sv/t` starts it anew, `sv stop /etc/sv/t` ends it");
  EXPECT_TRUE(commands_for("s6", "/s").contains("s6-svc -d /s"));
  EXPECT_TRUE(commands_for("supervisord", "t:t").contains("supervisorctl stop t:t"));
  EXPECT_EQ(commands_for("container", ""), "stop its container first");
}

}  // namespace
}  // namespace talaria
