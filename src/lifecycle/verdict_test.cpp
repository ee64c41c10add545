#include "lifecycle/verdict.h"

#include <gtest/gtest.h>

#include <csignal>

namespace talaria {
namespace {

constexpr int manager_pid = 1;

SignalEvidence from_manager() {
  SignalEvidence e;
  e.signal_number = SIGTERM;
  e.sender_pid = manager_pid;
  e.code = SI_USER;
  e.supervision = {ManagerKind::systemd_system, manager_pid, "talaria-gateway@default.service"};
  return e;
}

UnitAnswer answer(std::string job, std::string result = "success") {
  UnitAnswer a;
  a.active_state = job.empty() ? "active" : "deactivating";
  a.result = std::move(result);
  a.job_type = std::move(job);
  return a;
}

TEST(Verdict, AnnouncementIsPlannedWhoeverSends) {
  SignalEvidence e = from_manager();
  e.sender_pid = 4711;
  e.announcement = Announcement{{}, "talaria gateway stop", 0};
  EXPECT_EQ(decide(e).kind, VerdictKind::planned);
  EXPECT_EQ(decide(e).exit_code, ExitCode::planned);
  EXPECT_FALSE(needs_manager(e));
}

TEST(Verdict, ManagersJobDecides) {
  for (const char* job : {"stop", "restart"}) {
    SignalEvidence e = from_manager();
    EXPECT_TRUE(needs_manager(e));
    e.manager = answer(job);
    EXPECT_EQ(decide(e).kind, VerdictKind::planned) << job;
  }
}

TEST(Verdict, SystemctlKillIsUnplanned) {
  SignalEvidence e = from_manager();
  e.manager = answer("");
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
  EXPECT_EQ(decide(e).exit_code, ExitCode::unplanned);
}

TEST(Verdict, StartJobIsNoStop) {
  SignalEvidence e = from_manager();
  e.manager = answer("start");
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
}

TEST(Verdict, FailureResultIsUnplannedEvenWithAStopJob) {
  for (const char* result : {"oom-kill", "watchdog", "timeout"}) {
    SignalEvidence e = from_manager();
    e.manager = answer("stop", result);
    EXPECT_EQ(decide(e).kind, VerdictKind::unplanned) << result;
  }
}

TEST(Verdict, SystemGoingDownIsPlanned) {
  SignalEvidence e = from_manager();
  e.manager = answer("");
  e.manager->system_stopping = true;
  EXPECT_EQ(decide(e).kind, VerdictKind::planned);
}

TEST(Verdict, SilentManagerIsJudgedByItsSigcont) {
  SignalEvidence e = from_manager();
  e.manager_problem = "no answer within 250 ms";
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
  e.continued = true;
  EXPECT_EQ(decide(e).kind, VerdictKind::planned);
}

TEST(Verdict, AShellsKillIsUnplannedAndNamesTheSender) {
  SignalEvidence e = from_manager();
  e.sender_pid = 4711;
  e.sender_uid = 1000;
  e.continued = true;  // proves nothing when the sender is a stranger
  ProcessFacts facts;
  facts.pid = 4711;
  facts.comm = "bash";
  facts.command_line = "bash -c kill";
  e.sender = facts;
  EXPECT_FALSE(needs_manager(e));
  const Verdict verdict = decide(e);
  EXPECT_EQ(verdict.kind, VerdictKind::unplanned);
  EXPECT_NE(verdict.cause.find("4711"), std::string::npos);
  EXPECT_NE(verdict.cause.find("bash -c kill"), std::string::npos);
  EXPECT_NE(evidence_json(e).find("\"sender_pid\":4711"), std::string::npos);
}

TEST(Verdict, OutsideThePidNamespaceIsPlannedUnlessQueued) {
  SignalEvidence e;
  e.signal_number = SIGTERM;
  e.code = SI_USER;
  EXPECT_EQ(decide(e).kind, VerdictKind::planned);
  e.code = SI_QUEUE;
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
}

TEST(Verdict, TheTerminalsKeysArePlannedAndNoContainerRuntime) {
  for (const int key : {SIGINT, SIGQUIT}) {
    SignalEvidence e;
    e.signal_number = key;
    e.code = SI_KERNEL;
    EXPECT_EQ(decide(e).kind, VerdictKind::planned);
    EXPECT_EQ(decide(e).cause_kind, CauseKind::interrupt) << decide(e).cause;
  }
}

TEST(Verdict, TheKernelIsNotOutsideThePidNamespace) {
  SignalEvidence e;
  e.signal_number = SIGTERM;
  e.code = SI_KERNEL;
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
  EXPECT_EQ(decide(e).cause, "SIGTERM from the kernel");
}

TEST(Verdict, UnsupervisedPid1IsAStranger) {
  SignalEvidence e;
  e.signal_number = SIGTERM;
  e.sender_pid = 1;
  e.code = SI_USER;
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
}

SignalEvidence from_supervisor(ManagerKind kind) {
  SignalEvidence e = from_manager();
  e.sender_pid = 900;
  e.supervision = {.manager = kind, .manager_pid = 900, .unit = "/etc/sv/talaria", .server = {}};
  return e;
}

SupervisorAnswer wants(Wanted wanted) { return {wanted, 4711, "…", "…"}; }

TEST(Verdict, ASupervisorThatWantsUsDownStopsUs) {
  for (const auto kind : {ManagerKind::runit, ManagerKind::s6, ManagerKind::supervisord}) {
    SignalEvidence e = from_supervisor(kind);
    EXPECT_TRUE(needs_manager(e));
    e.supervisor = wants(Wanted::down);
    EXPECT_EQ(decide(e).kind, VerdictKind::planned);
    EXPECT_EQ(decide(e).exit_code, ExitCode::planned);
  }
}

TEST(Verdict, ASupervisorThatWantsUsUpIsARestartWhereItMayBeOne) {
  for (const auto kind : {ManagerKind::runit, ManagerKind::s6}) {
    SignalEvidence e = from_supervisor(kind);
    e.supervisor = wants(Wanted::up);
    EXPECT_EQ(decide(e).kind, VerdictKind::restart);
    EXPECT_EQ(decide(e).exit_code, ExitCode::again);
  }
  SignalEvidence e = from_supervisor(ManagerKind::supervisord);
  e.supervisor = wants(Wanted::up);
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
  EXPECT_EQ(decide(e).exit_code, ExitCode::unplanned);
}

TEST(Verdict, ASupervisorThatCannotBeAskedStartsUsAgainIfItWantsTo) {
  SignalEvidence e = from_supervisor(ManagerKind::supervisord);
  e.manager_problem = "connect /run/supervisor.sock: Permission denied";
  EXPECT_EQ(decide(e).kind, VerdictKind::planned);
  EXPECT_EQ(decide(e).exit_code, ExitCode::again);
  EXPECT_TRUE(decide(e).cause.contains("Permission denied"));
}

TEST(Verdict, ASupervisorsStrangersAreStrangers) {
  SignalEvidence e = from_supervisor(ManagerKind::runit);
  e.sender_pid = 901;
  EXPECT_FALSE(needs_manager(e));
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
}

TEST(Verdict, TheContainersInitPassesOnWhatTheRuntimeSaid) {
  SignalEvidence e = from_supervisor(ManagerKind::container);
  e.supervision.manager_pid = 1;
  e.sender_pid = 1;
  EXPECT_FALSE(needs_manager(e));
  EXPECT_EQ(decide(e).kind, VerdictKind::planned);
  EXPECT_EQ(decide(e).exit_code, ExitCode::planned);
  e.sender_pid = 900;  // another process of the container
  EXPECT_EQ(decide(e).kind, VerdictKind::unplanned);
}

}  // namespace
}  // namespace talaria
