// The shell of ExecStopPost= run as it stands in the unit, with what systemd would give it.
#include "service/exit_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/time.h"
#include "service/exit_record.h"
#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using testing::TemporaryDirectory;

// The user scope's only script, and the one that the system scope's executes as the unit's user.
std::string script(UnitScope scope) {
  const auto value = exit_recorder(scope);
  const auto end = value.rfind('\'');
  const auto begin = value.rfind('\'', end - 1) + 1;
  std::string text;
  for (std::size_t i = begin; i < end; ++i) {
    if (value[i] == '%' && value[i + 1] == 'i') {
      text += "work";
      ++i;
      continue;
    }
    if (value[i] == '\\' || value[i] == '%') ++i;
    text += value[i];
  }
  return text;
}

class ExitRecorder : public ::testing::TestWithParam<UnitScope> {
 protected:
  ExitRecorder() { std::filesystem::create_directories(state_); }

  // What the script printed; "program" if it went on to the program.
  std::string run(const std::string& more = "") {
    const std::string file = dir_ / "script";
    std::ofstream(file) << script(GetParam());
    const auto command = "cd / && env -i PATH=/usr/bin:/bin STATE_DIRECTORY=" + state_ +
                         " XDG_STATE_HOME=" + dir_ / "s" +
                         " SERVICE_RESULT=signal EXIT_CODE=killed EXIT_STATUS=KILL INVOCATION_ID=0123abcd " + more +
                         " sh -c \"$(cat " + file + ")\" sh echo program >" + dir_ / "out" + " 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);
    std::ifstream out(dir_ / "out");
    std::string said;
    std::getline(out, said);
    return said;
  }

  std::vector<std::string> lines() {
    std::ifstream in(file_);
    std::vector<std::string> found;
    for (std::string line; std::getline(in, line);) found.push_back(line);
    return found;
  }

  TemporaryDirectory dir_;
  std::string state_ = dir_ / "s/talaria/work";
  std::string file_ = state_ + "/exits.jsonl";
};

INSTANTIATE_TEST_SUITE_P(Scopes, ExitRecorder, ::testing::Values(UnitScope::system, UnitScope::user));

TEST_P(ExitRecorder, WritesTheSameLineAsTheProgram) {
  std::ofstream(file_) << "";
  const auto before = SystemWallClock().now();
  EXPECT_EQ(run(), "");
  ASSERT_EQ(lines().size(), 1u);
  const auto line = boost::json::parse(lines()[0]).as_object();
  const ExitRecord same{.at = line.at("at").as_int64(),
                        .service_result = "signal",
                        .exit_code = "killed",
                        .exit_status = "KILL",
                        .invocation_id = "0123abcd"};
  EXPECT_EQ(boost::json::value(line), boost::json::parse(format_exit_record(same)));
  EXPECT_GE(same.at, before);
  EXPECT_LE(same.at, SystemWallClock().now());
}

TEST_P(ExitRecorder, LeavesAnythingUnusualToTheProgram) {
  EXPECT_EQ(run(), "program") << "no file yet";
  std::ofstream(dir_ / "victim") << "";
  std::filesystem::create_symlink(dir_ / "victim", file_);
  EXPECT_EQ(run(), "program") << "a link";
  EXPECT_EQ(std::filesystem::file_size(dir_ / "victim"), 0u);
  std::filesystem::remove(file_);
  std::ofstream(file_) << "";
  EXPECT_EQ(run("TALARIA_HOME=/x"), "program") << "another home";
  for (const char* other : {"EXIT_STATUS=TERM", "EXIT_CODE=exited EXIT_STATUS=1 SERVICE_RESULT=exit-code",
                            "SERVICE_RESULT=timeout", "SERVICE_RESULT=oom-kill", "SERVICE_RESULT=watchdog"})
    EXPECT_EQ(run(other), "program") << other;
  EXPECT_EQ(std::filesystem::file_size(file_), 0u);
}

TEST(ExitRecorderCommand, BecomesTheUnitsUserFirst) {
  EXPECT_THAT(exit_recorder(UnitScope::system),
              ::testing::HasSubstr("exec chroot --groups= --userspec=\"${USER:-root}\" / /bin/sh "));
  EXPECT_THAT(exit_recorder(UnitScope::user), ::testing::Not(::testing::HasSubstr("chroot")));
}

}  // namespace
}  // namespace talaria
