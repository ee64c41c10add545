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

}  // namespace
}  // namespace talaria
