#include "lifecycle/run_ledger.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <csignal>

#include "store/schema.h"

namespace talaria {
namespace {

constexpr const char* boot = "11111111-2222-3333-4444-555555555555";
constexpr const char* other_boot = "99999999-2222-3333-4444-555555555555";

Settling settling(const char* boot_now = boot) { return {.boot_id = boot_now, .now = 9000}; }

ManagerExit seen(const char* result, const char* code, const char* status) {
  return {.at = 2000, .result = result, .code = code, .status = status, .pid = 4711, .invocation_id = "i1"};
}

CrashRecord crash(const char* type, int signal, const char* reason = "") {
  return {.type = type,
          .who = {4711, 77, boot},
          .at = 1900,
          .signal = signal,
          .code = 1,
          .thread_name = "store",
          .reason = reason};
}

class RunLedger : public ::testing::Test {
 protected:
  RunLedger() : db_(std::move(*Database::open(":memory:"))) { EXPECT_TRUE(migrate(*db_)); }

  std::int64_t begin() {
    RunRow run{
        .pid = 4711, .process_start = 77, .boot_id = boot, .scope = "user", .version = "1", .invocation_id = "i1"};
    run.started_at = 1000;
    return begin_run(*db_, run).value_or(0);
  }
  std::optional<RunRow> begun(std::int64_t id) {
    for (RunRow& run : *list_runs(*db_, 10))
      if (run.id == id) return run;
    return {};
  }
  void end_as_planned(std::int64_t id) {
    EXPECT_TRUE(
        end_run(*db_, id, {.verdict = "planned", .kind = "stop", .cause = "asked", .evidence = "{}", .at = 1800}));
  }
  // What the ledger says of the newest run after the next start. Asking twice changes nothing.
  RunRow settled(const Testimony& testimony, const Settling& with = settling()) {
    EXPECT_TRUE(settle_runs(*db_, testimony, with));
    const auto again = settle_runs(*db_, testimony, with);
    EXPECT_TRUE(again);
    EXPECT_EQ(again->changed, 0);
    return list_runs(*db_, 1)->front();
  }
  std::unique_ptr<Database> db_;
};

// It began in the ledger and could not end there: its words are beside it.
TEST_F(RunLedger, WhatARunToldBesideTheLedgerIsItsEnd) {
  for (const bool by_id : {true, false}) {
    db_ = std::move(*Database::open(":memory:"));
    ASSERT_TRUE(migrate(*db_));
    RunRow told = *begun(begin());
    if (by_id)
      told.started_at = 1500;  // its next program found no way on
    else
      told.id = 0;
    told.ended_at = 1700;
    told.verdict = "config";
    told.cause = "wrong";
    told.exit_code = 78;
    const Testimony testimony{.exits = parse_exit_log(format_told_end(told)), .crashes = {}};
    const RunRow run = settled(testimony);
    EXPECT_EQ(run.verdict, "config");
    EXPECT_EQ(run.cause, "wrong");
    EXPECT_EQ(run.exit_code, 78);
    EXPECT_EQ(run.ended_at, 1700);
  }
}

struct Row {
  const char* what;
  ManagerExit seen;
  const char* verdict;
  const char* kind;
  int exit_code;
};

// Every end that only the manager saw, under its own name.
TEST_F(RunLedger, WhatTheManagerSawNamesTheEnd) {
  const Row rows[] = {
      {"SIGKILL", seen("signal", "killed", "KILL"), "crash", "sigkill", -1},
      {"OOM", seen("oom-kill", "killed", "KILL"), "crash", "oom-kill", -1},
      {"watchdog", seen("watchdog", "killed", "ABRT"), "crash", "watchdog", -1},
      {"watchdog, dumped", seen("watchdog", "dumped", "ABRT"), "crash", "watchdog", -1},
      {"time-out", seen("timeout", "killed", "KILL"), "crash", "start-timeout", -1},
      {"fatal signal", seen("signal", "killed", "SEGV"), "crash", "fatal-signal", -1},
      {"core", seen("core-dump", "dumped", "SEGV"), "crash", "fatal-signal", -1},
      {"early SIGTERM", seen("signal", "killed", "TERM"), "unplanned", "kill", -1},
      {"failure", seen("exit-code", "exited", "1"), "unplanned", "failure", 1},
      {"configuration", seen("exit-code", "exited", "78"), "config", "config", 78},
      {"permission", seen("exit-code", "exited", "77"), "unplanned", "permission", 77},
      {"no program", seen("exit-code", "exited", "203"), "unplanned", "not-started", 203},
      {"standby told to go", seen("success", "exited", "0"), "planned", "stop", 0},
      {"nothing executed", seen("resources", "", ""), "unplanned", "not-started", -1},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    ASSERT_TRUE(db_->exec("DELETE FROM run"));
    begin();
    const RunRow run = settled({.exits = {.seen = {row.seen}}});
    EXPECT_EQ(run.verdict, row.verdict);
    EXPECT_EQ(run.kind, row.kind);
    EXPECT_EQ(run.exit_code, row.exit_code);
    EXPECT_EQ(run.ended_at, 2000);
    // Without a run in the ledger it is a run of its own, with the same words.
    ASSERT_TRUE(db_->exec("DELETE FROM run"));
    const RunRow early = settled({.exits = {.seen = {row.seen}}});
    EXPECT_EQ(early.verdict, row.verdict);
    EXPECT_EQ(early.kind, row.kind);
    EXPECT_EQ(list_runs(*db_, 9)->size(), 1U);
  }
}

TEST_F(RunLedger, AStopThatTookTooLongKeepsItsCauseAndSaysWhatEndedIt) {
  end_as_planned(begin());
  const RunRow run = settled({.exits = {.seen = {seen("timeout", "killed", "KILL")}}});
  EXPECT_EQ(run.verdict, "planned");
  EXPECT_EQ(run.kind, "stop-timeout");
  EXPECT_EQ(run.cause.find("asked"), 0U) << run.cause;
}

TEST_F(RunLedger, AnOrderlyEndIsOnlyWitnessedByTheManager) {
  end_as_planned(begin());
  const RunRow run = settled({.exits = {.seen = {seen("success", "exited", "0")}}});
  EXPECT_EQ(run.kind, "stop");
  EXPECT_EQ(run.cause, "asked");
  EXPECT_EQ(run.ended_at, 1800);
  EXPECT_EQ(run.manager_at, 2000);
}

TEST_F(RunLedger, TheCrashRecordTellsTheSignalAndTheThread) {
  begin();
  const RunRow run = settled({.crashes = {crash("signal", SIGSEGV)}});
  EXPECT_EQ(run.kind, "fatal-signal");
  EXPECT_EQ(run.ended_at, 1900);
  EXPECT_NE(run.cause.find("SIGSEGV"), std::string::npos) << run.cause;
  EXPECT_NE(run.cause.find("store"), std::string::npos) << run.cause;
}

TEST_F(RunLedger, TheManagersWatchdogIsToldWithOurOwnReason) {
  begin();
  const RunRow run = settled({.exits = {.seen = {seen("watchdog", "killed", "ABRT")}},
                              .crashes = {crash("stuck", 0, "the event loop stands still")}});
  EXPECT_EQ(run.kind, "watchdog");
  EXPECT_NE(run.cause.find("the event loop stands still"), std::string::npos) << run.cause;
}

TEST_F(RunLedger, TheGuardsEndOfAStuckStopIsNoOrderlyOne) {
  end_as_planned(begin());
  const RunRow run = settled({.exits = {.seen = {seen("success", "exited", "0")}},
                              .crashes = {crash("stuck-stop", 0, "budget of 45 s used up")}});
  EXPECT_EQ(run.verdict, "planned");
  EXPECT_EQ(run.kind, "stuck-stop");
}

TEST_F(RunLedger, TheGuardTellsTheCauseWhereTheStoreCouldNotTakeIt) {
  begin();
  CrashRecord record = crash("stuck-stop", 0);
  record.verdict = "planned";
  record.cause = "a stop job of the service manager";
  record.exit_code = 0;
  const RunRow run = settled({.exits = {.seen = {seen("success", "exited", "0")}}, .crashes = {record}});
  EXPECT_EQ(run.verdict, "planned");
  EXPECT_EQ(run.kind, "stuck-stop");
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.cause.find("a stop job"), 0U) << run.cause;
}

TEST_F(RunLedger, AnotherBootMeansAPowerCut) {
  begin();
  EXPECT_EQ(settled({}, settling(other_boot)).kind, "power-cut");
}

TEST_F(RunLedger, WithoutAnyTestimonyItVanishedUntilTheManagersWordComesLate) {
  begin();
  EXPECT_EQ(settled({}).kind, "vanished");
  const RunRow run = settled({.exits = {.seen = {seen("oom-kill", "killed", "KILL")}}});
  EXPECT_EQ(run.kind, "oom-kill");
  EXPECT_EQ(list_runs(*db_, 9)->size(), 1U);
}

TEST_F(RunLedger, AnEarlierRunOfTheSamePidIsNoEvidence) {
  RunRow run{.pid = 4711, .boot_id = boot};
  run.started_at = 1000;
  ASSERT_TRUE(begin_run(*db_, run));
  EXPECT_TRUE(settle_runs(
      *db_, {.exits = {.seen = {{.at = 500, .result = "oom-kill", .code = "killed", .status = "KILL", .pid = 4711}}}},
      settling()));
  const auto runs = list_runs(*db_, 9);
  ASSERT_EQ(runs->size(), 2U);
  EXPECT_EQ(runs->back().kind, "vanished");
}

TEST_F(RunLedger, ARunThatGoesOnIsLeftAlone) {
  begin();
  Settling with = settling();
  with.alive = Incarnation{4711, 77, boot};
  EXPECT_EQ(settled({}, with).verdict, "");
}

TEST_F(RunLedger, WhatWasForgottenDoesNotComeBack) {
  Settling with = settling();
  with.oldest = 2001;
  EXPECT_EQ(
      settle_runs(*db_, {.exits = {.seen = {seen("exit-code", "exited", "1")}}, .crashes = {crash("signal", SIGSEGV)}},
                  with)
          ->changed,
      0);
}

TEST_F(RunLedger, EarlyEndsAreRunsOfTheirOwnInOrder) {
  end_as_planned(begin());
  ManagerExit early = seen("exit-code", "exited", "1");
  early.invocation_id = "i2";
  early.at = 3000;
  ManagerExit earlier = early;
  earlier.invocation_id = "i3";
  earlier.at = 4000;
  EXPECT_TRUE(settle_runs(*db_, {.exits = {.seen = {seen("success", "exited", "0"), early, earlier}}}, settling()));
  const auto runs = list_runs(*db_, 10);
  ASSERT_EQ(runs->size(), 3U);
  EXPECT_EQ((*runs)[0].ended_at, 4000);
  EXPECT_EQ((*runs)[1].ended_at, 3000);
  EXPECT_EQ((*runs)[1].verdict, "unplanned");
  EXPECT_EQ((*runs)[2].verdict, "planned");
}

// Whatever was said in whatever order: asked again it has nothing to add, and every run but the living has an end.
RC_GTEST_PROP(RunLedgerProperty, SettlingIsFinal, ()) {
  auto db = std::move(*Database::open(":memory:"));
  RC_ASSERT(migrate(*db).has_value());
  const int runs = *rc::gen::inRange(0, 6);
  for (int i = 0; i < runs; ++i) {
    RunRow run{.pid = *rc::gen::inRange(1, 4),
               .process_start = static_cast<std::uint64_t>(*rc::gen::inRange(1, 4)),
               .boot_id = boot};
    run.started_at = 1000 * (i + 1);
    if (*rc::gen::arbitrary<bool>()) run.invocation_id = std::string(1, static_cast<char>('a' + i));
    const auto id = begin_run(*db, run);
    if (*rc::gen::arbitrary<bool>())
      RC_ASSERT(end_run(*db, *id, {.verdict = "planned", .kind = "stop", .at = run.started_at + 10}).has_value());
  }
  Testimony testimony;
  const int lines = *rc::gen::inRange(0, 6);
  for (int i = 0; i < lines; ++i) {
    ManagerExit line{.at = *rc::gen::inRange(1, 8000), .pid = *rc::gen::inRange(0, 4)};
    line.result = *rc::gen::element<std::string>("success", "signal", "oom-kill", "timeout", "exit-code");
    line.code = *rc::gen::element<std::string>("exited", "killed", "");
    line.status = *rc::gen::element<std::string>("0", "1", "KILL", "");
    if (*rc::gen::arbitrary<bool>())
      line.invocation_id = std::string(1, static_cast<char>('a' + *rc::gen::inRange(0, 8)));
    testimony.exits.seen.push_back(line);
  }
  const int crashes = *rc::gen::inRange(0, 3);
  for (int i = 0; i < crashes; ++i) {
    testimony.crashes.push_back(
        {.type = *rc::gen::element<std::string>("signal", "stuck", "stuck-stop"),
         .who = {*rc::gen::inRange(1, 4), static_cast<std::uint64_t>(*rc::gen::inRange(1, 4)), boot},
         .at = *rc::gen::inRange(1, 8000),
         .signal = SIGSEGV});
  }
  const Settling with{.boot_id = boot, .now = 9000};
  RC_ASSERT(settle_runs(*db, testimony, with).has_value());
  for (const RunRow& run : settle(*list_runs(*db, 600), testimony, with)) {
    RC_LOG(fmt::format("changed again: id {} pid {} invocation {} manager_at {} kind {}", run.id, run.pid,
                       run.invocation_id, run.manager_at.value_or(-1), run.kind));
    RC_FAIL("settling was not final");
  }
  RC_ASSERT(open_runs(*db, 0)->empty());
}

std::string line_of(const ManagerExit& seen) {
  return fmt::format(
      "{{\"at\":{},\"service_result\":\"{}\",\"exit_code\":\"{}\",\"exit_status\":\"{}\",\"pid\":{},"
      "\"invocation_id\":\"{}\",\"oom_kills\":0}}\n",
      seen.at, seen.result, seen.code, seen.status, seen.pid, seen.invocation_id);
}

// Start by start, with what was said in between: looking only at what is new comes to the same as looking at all.
RC_GTEST_PROP(RunLedgerProperty, WhatIsNewIsEnough, ()) {
  auto fast = std::move(*Database::open(":memory:"));
  auto slow = std::move(*Database::open(":memory:"));
  RC_ASSERT(migrate(*fast).has_value() && migrate(*slow).has_value());
  TestimonyText text;
  UnixMillis now = 1000;
  const auto passes = [&now] { return now += *rc::gen::inRange(1, 100); };
  // An invocation is one start by the manager: no other run has it. Not every manager has such a thing.
  const auto invocation = [](int latest) {
    switch (*rc::gen::inRange(0, 4)) {
      case 0: return std::string();
      case 1: return fmt::format("ended early {}", *rc::gen::inRange(0, 1'000'000));
      default: return fmt::format("run{}", *rc::gen::inRange(0, latest + 1));
    }
  };
  const int starts = *rc::gen::inRange(1, 9);
  for (int i = 0; i < starts; ++i) {
    const Settling with{.boot_id = *rc::gen::weightedElement<const char*>({{5, boot}, {1, other_boot}}),
                        .now = passes()};
    RC_ASSERT(settle_runs(*fast, text, with).has_value());
    RC_ASSERT(settle_runs(*slow, parse_testimony(text), with).has_value());
    RunRow run{.pid = *rc::gen::inRange(1, 4), .process_start = static_cast<std::uint64_t>(i), .boot_id = boot};
    run.started_at = passes();
    run.invocation_id = *rc::gen::inRange(0, 4) == 0 ? std::string() : fmt::format("run{}", i);
    for (Database* db : {fast.get(), slow.get()}) RC_ASSERT(begin_run(*db, run).has_value());
    if (*rc::gen::inRange(0, 3) == 0) {
      const auto at = passes();
      for (Database* db : {fast.get(), slow.get()})
        (void)end_run(*db, list_runs(*db, 1)->front().id, {.verdict = "planned", .kind = "stop", .at = at});
    }
    const int lines = *rc::gen::weightedElement<int>({{1, 0}, {6, 1}, {2, 2}});
    for (int n = 0; n < lines; ++n) {
      ManagerExit seen{.at = passes(), .result = "signal", .code = "killed", .status = "KILL", .pid = 0};
      seen.pid = *rc::gen::inRange(0, 4);
      seen.invocation_id = *rc::gen::weightedElement<std::string>({{4, run.invocation_id}, {1, invocation(i)}});
      text.exits += line_of(seen);
    }
    if (*rc::gen::inRange(0, 8) == 0) text.exits += "no line of ours\n";
    if (*rc::gen::inRange(0, 8) == 0) {
      RunRow told{
          .pid = 9, .process_start = 100 + static_cast<std::uint64_t>(i), .boot_id = boot, .started_at = passes()};
      told.ended_at = passes();
      told.verdict = "unplanned";
      text.exits += format_told_end(told);
    }
    if (*rc::gen::inRange(0, 8) == 0) text.exits.erase(0, text.exits.find('\n') + 1);  // shortened
  }
  const Settling last{.boot_id = boot, .now = passes()};
  RC_ASSERT(settle_runs(*fast, text, last).has_value());
  RC_ASSERT(settle_runs(*slow, parse_testimony(text), last).has_value());
  const auto words = [](Database& db) {
    std::vector<std::string> all;
    for (const RunRow& run : *list_runs(db, 600))
      all.push_back(fmt::format("{} {} {} {} {} {} {} {} {} {}", run.id, run.pid, run.invocation_id, run.started_at,
                                run.ended_at.value_or(-1), run.verdict, run.kind, run.cause, run.evidence,
                                run.manager_at.value_or(-1)));
    return all;
  };
  RC_ASSERT(words(*fast) == words(*slow));
}

// The common case takes the short way: a run further back is not looked at, whatever is wrong with it.
TEST_F(RunLedger, OnlyTheLastRunIsLookedAtWhereNothingElseIsNew) {
  TestimonyText text;
  EXPECT_TRUE(settle_runs(*db_, text, settling()));
  for (int i = 0; i < 3; ++i) {
    RunRow run{.pid = 4711, .process_start = 77, .boot_id = boot, .invocation_id = fmt::format("i{}", i)};
    run.started_at = 1000 + i;
    const auto id = begin_run(*db_, run);
    ASSERT_TRUE(id);
    // Nobody may notice that this is undone.
    if (i > 0)
      ASSERT_TRUE(
          db_->exec(fmt::format("UPDATE run SET verdict = '', manager_at = NULL WHERE id = {}", *id - 1).c_str()));
    text.exits += line_of({.at = 2000 + i,
                           .result = "signal",
                           .code = "killed",
                           .status = "KILL",
                           .pid = 0,
                           .invocation_id = run.invocation_id});
    const auto settled = settle_runs(*db_, text, settling());
    ASSERT_TRUE(settled);
    EXPECT_EQ(settled->changed, 1);
    EXPECT_EQ(list_runs(*db_, 1)->front().kind, "sigkill");
  }
  // Where the text is another one, all of it is looked at.
  text.exits.insert(0, "something before\n");
  const auto settled = settle_runs(*db_, text, settling());
  ASSERT_TRUE(settled);
  EXPECT_EQ(settled->changed, 2);
}

TEST(ExitLog, WhatIsNotOursIsPassedOver) {
  EXPECT_TRUE(parse_exit_log("").seen.empty());
  const ExitLog log = parse_exit_log(
      "garbage\n[1]\n{\"at\":\"x\",\"pid\":7}\n{\"at\":1,\"service_result\":\"signal\",\"exit_status\":\"\\u001b[2J\"}"
      "\n{\"at\":1");
  ASSERT_EQ(log.seen.size(), 1U);
  EXPECT_EQ(log.seen[0].status.find('\x1b'), std::string::npos);
}

TEST(ExitLog, AnEndWithoutAStoreComesBackAsItWasTold) {
  RunRow run{.pid = 7,
             .process_start = 8,
             .boot_id = boot,
             .scope = "none",
             .version = "1",
             .started_at = 5,
             .ended_at = 6,
             .verdict = "unplanned",
             .cause = "no\nroom",
             .evidence = "{\"a\":1}",
             .exit_code = 77,
             .kind = "permission"};
  const ExitLog log = parse_exit_log(format_told_end(run));
  ASSERT_EQ(log.told.size(), 1U);
  const RunRow& back = log.told[0];
  EXPECT_EQ(back.cause, "no\\nroom");  // fit for a terminal
  EXPECT_EQ(std::tie(back.pid, back.process_start, back.boot_id, back.ended_at, back.verdict, back.evidence,
                     back.exit_code, back.kind),
            std::tie(run.pid, run.process_start, run.boot_id, run.ended_at, run.verdict, run.evidence, run.exit_code,
                     run.kind));
}

}  // namespace
}  // namespace talaria
