#include "lifecycle/run_ledger.h"

#include <gtest/gtest.h>

#include "store/schema.h"

namespace talaria {
namespace {

constexpr const char* boot = "11111111-2222-3333-4444-555555555555";

class RunLedger : public ::testing::Test {
 protected:
  RunLedger() : db_(std::move(*Database::open(":memory:"))) { EXPECT_TRUE(migrate(*db_)); }

  // What the ledger says of a run that ended without a word, after the next start.
  RunRow settled(const std::vector<ManagerExit>& exits, const char* boot_now = boot) {
    RunRow run{.pid = 4711, .boot_id = boot, .scope = "user", .unit = "", .version = "1"};
    run.started_at = 1000;
    EXPECT_TRUE(begin_run(*db_, run));
    EXPECT_EQ(settle_crashed_runs(*db_, {1, 1, boot_now}, exits, 9000).value_or(-1), 1);
    return list_runs(*db_, 1)->front();
  }
  std::unique_ptr<Database> db_;
};

TEST_F(RunLedger, TheManagersViewNamesTheSignalAndTheTime) {
  const auto exits = parse_manager_exits(
      "{\"at\":500,\"service_result\":\"success\",\"exit_code\":\"exited\",\"exit_status\":\"0\",\"pid\":4711}\n"
      "{\"at\":2000,\"service_result\":\"oom-kill\",\"exit_code\":\"killed\",\"exit_status\":\"KILL\",\"pid\":4711}\n"
      "{\"at\":3000,\"service_result\":\"timeout\",\"exit_code\":\"killed\",\"exit_status\":\"ABRT\",\"pid\":12}\n");
  const RunRow run = settled(exits);
  EXPECT_EQ(run.verdict, "crash");
  EXPECT_EQ(run.ended_at, 2000);
  EXPECT_NE(run.cause.find("oom-kill"), std::string::npos) << run.cause;
  EXPECT_NE(run.evidence.find("\"exit_status\":\"KILL\""), std::string::npos) << run.evidence;
}

TEST_F(RunLedger, AnEarlierRunOfTheSamePidIsNoEvidence) {
  const RunRow run = settled({{.at = 500, .result = "oom-kill", .code = "killed", .status = "KILL", .pid = 4711}});
  EXPECT_EQ(run.cause.find("oom-kill"), std::string::npos) << run.cause;
  EXPECT_EQ(run.ended_at, 9000);
}

TEST_F(RunLedger, AnotherBootMeansAPowerCut) {
  const RunRow run = settled({}, "99999999-2222-3333-4444-555555555555");
  EXPECT_NE(run.cause.find("power cut"), std::string::npos) << run.cause;
}

TEST(ManagerExits, WhatIsNotOursIsPassedOver) {
  EXPECT_TRUE(parse_manager_exits("").empty());
  EXPECT_EQ(parse_manager_exits("garbage\n[1]\n{\"at\":\"x\",\"pid\":7}\n{\"at\":1").size(), 1U);
}

}  // namespace
}  // namespace talaria
