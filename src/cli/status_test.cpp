#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/status_report.h"
#include "cli/status_text.h"

namespace talaria::cli {
namespace {

namespace json = boost::json;
using testing::HasSubstr;
using testing::Not;

StatusFacts facts_of_profile() {
  StatusFacts facts;
  facts.paths.profile = "work";
  facts.paths.state_directory = "/state/work";
  facts.live_problem = {ErrorKind::timeout, "no answer"};
  return facts;
}

UnitState unit_that(const char* active, int pid, const char* says) {
  UnitState unit;
  unit.load_state = "loaded";
  unit.active_state = active;
  unit.main_pid = pid;
  unit.status_text = says;
  return unit;
}

std::string state_of(const StatusFacts& facts) {
  return json::value_to<std::string>(compose_status(facts).at("state"));
}

TEST(ComposeStatus, WithoutAnAnswerTheManagerAndTheLockTell) {
  const struct {
    std::optional<UnitState> unit;
    bool held;
    const char* state;
  } cases[] = {
      {std::nullopt, false, "stopped"},
      {std::nullopt, true, "unknown"},
      {unit_that("inactive", 0, ""), false, "stopped"},
      {unit_that("failed", 0, ""), false, "failed"},
      {unit_that("activating", 7, "starting: waiting for the store"), false, "starting"},
      {unit_that("activating", 7, "backing off: 3 failures"), false, "backing-off"},
      {unit_that("active", 7, "running, API on x"), false, "running"},
      {unit_that("active", 7, "standby for PID 9"), false, "standby"},
      {unit_that("deactivating", 7, "draining"), false, "draining"},
      {unit_that("active", 7, "running"), true, "unknown"},
  };
  for (const auto& [unit, held, state] : cases) {
    auto facts = facts_of_profile();
    facts.unit = unit;
    facts.lock->held = held;
    EXPECT_EQ(state_of(facts), state) << (unit ? unit->active_state + " " + unit->status_text : "no unit") << held;
  }
}

TEST(ComposeStatus, AUnitThatWaitsIsToldWithItsOwner) {
  auto facts = facts_of_profile();
  facts.live =
      json::object{{"state", "running"}, {"pid", 9}, {"scope", "system"}, {"unit", "bot.service"}, {"ready", true}};
  facts.unit = unit_that("active", 7, "standby for PID 9, system service bot.service");
  const auto status = compose_status(facts);
  EXPECT_EQ(status.at("state"), "standby");
  EXPECT_EQ(status.at("pid"), 7);
  EXPECT_EQ(status.at("ready"), false);
  EXPECT_EQ(status.at("standby_for"), "PID 9, system service bot.service");
  EXPECT_EQ(status.at("owner").at("pid"), 9);
  facts.unit = unit_that("active", 9, "running");  // it is the owner
  EXPECT_EQ(compose_status(facts).at("state"), "running");
  EXPECT_TRUE(compose_status(facts).at("owner").is_null());
}

TEST(StatusText, IsOneLook) {
  auto facts = facts_of_profile();
  facts.live = json::object{{"state", "running"},
                            {"detail", "running, API on 127.0.0.1:1"},
                            {"pid", 9},
                            {"since", "2026-03-01T12:00:00.000Z"},
                            {"version", "1.2.3"}};
  auto status = compose_status(facts);
  status["duplicates"] = json::array{json::object{{"text", "another\x1b[31m one"}, {"remedy", "kill 4"}}};
  const UnixMillis now = 1'772'366'400'000 + 5LL * 3'600'000;  // five hours later
  const auto text = status_text(status, now, false);
  EXPECT_THAT(text, HasSubstr("state      running, API on 127.0.0.1:1\n"));
  EXPECT_THAT(text, HasSubstr("(5 h 0 min), version 1.2.3"));
  EXPECT_THAT(text, HasSubstr("to end it: kill 4"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(DurationWords, AreRounded) {
  EXPECT_EQ(duration_words(-5), "0 s");
  EXPECT_EQ(duration_words(59'999), "59 s");
  EXPECT_EQ(duration_words(60'000), "1 min");
  EXPECT_EQ(duration_words(3'600'000 * 5 + 60'000), "5 h 1 min");
  EXPECT_EQ(duration_words(3'600'000LL * 49), "2 d 1 h");
}

}  // namespace
}  // namespace talaria::cli
