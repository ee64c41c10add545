#include "service/units.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TemporaryDirectory;

// [Section] key=value, several values of one key in order.
using Unit = std::map<std::string, std::vector<std::string>>;
Unit parse(const std::string& text) {
  Unit unit;
  std::string section;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    if (line.starts_with('[')) {
      section = line.substr(1, line.size() - 2);
      continue;
    }
    const auto equals = line.find('=');
    EXPECT_NE(equals, std::string::npos) << line;
    unit[section + "." + line.substr(0, equals)].push_back(line.substr(equals + 1));
  }
  return unit;
}

std::string render(UnitScope scope, const std::string& binary = "/usr/local/bin/talaria", int version = 252) {
  auto text = render_unit({scope, binary, version});
  EXPECT_TRUE(text) << text.error().what;
  return text.value_or("");
}

using Values = std::vector<std::string>;

class RenderUnit : public ::testing::TestWithParam<UnitScope> {};
INSTANTIATE_TEST_SUITE_P(, RenderUnit, ::testing::Values(UnitScope::system, UnitScope::user),
                         [](const auto& info) { return info.param == UnitScope::system ? "system" : "user"; });

TEST_P(RenderUnit, TellsTheManagerTheLifeCycleContract) {
  auto unit = parse(render(GetParam()));
  const std::map<std::string, std::string> wanted{
      {"Unit.StartLimitIntervalSec", "0"},
      {"Service.Type", "notify"},
      {"Service.NotifyAccess", "main"},
      {"Service.Restart", "on-failure"},
      {"Service.RestartForceExitStatus", "75 SIGTERM SIGINT SIGHUP SIGPIPE"},
      {"Service.SuccessExitStatus", "75"},
      {"Service.RestartPreventExitStatus", "64 77 78"},
      {"Service.RestartSec", "0"},
      {"Service.KillMode", "mixed"},
      {"Service.TimeoutStopSec", "60s"},
      {"Service.WatchdogSec", "60s"},
      {"Service.OOMPolicy", "continue"},
      {"Service.UMask", "0077"},
  };
  for (const auto& [key, value] : wanted) EXPECT_EQ(unit[key], Values{value}) << key;
}

TEST_P(RenderUnit, HasNothingOfTheCallersEnvironment) {
  const auto before = render(GetParam());
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", "/somewhere/odd", 1);
  ::setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(render(GetParam()), before);
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_THAT(before, Not(HasSubstr("PATH")));
}

TEST_P(RenderUnit, IsOurs) { EXPECT_TRUE(is_our_file(render(GetParam()))); }

TEST(RenderUnitCommands, NameTheScopeAndTheInstance) {
  auto system = parse(render(UnitScope::system));
  EXPECT_EQ(system["Service.ExecStart"], Values{"/usr/local/bin/talaria --system -p %i gateway run"});
  EXPECT_EQ(system["Service.ExecReload"], Values{"/usr/local/bin/talaria --system -p %i gateway reload"});
  EXPECT_EQ(system["Service.ExecStop"], Values{"-/usr/local/bin/talaria --system -p %i gateway announce-stop"});
  ASSERT_EQ(system["Service.ExecStopPost"].size(), 1u);
  EXPECT_THAT(system["Service.ExecStopPost"][0], StartsWith("-:+/bin/sh -c '"));
  EXPECT_THAT(system["Service.ExecStopPost"][0],
              EndsWith("' /usr/local/bin/talaria --system -p %i gateway record-exit"));
  auto user = parse(render(UnitScope::user));
  EXPECT_EQ(user["Service.ExecStart"], Values{"/usr/local/bin/talaria -p %i gateway run"});
  ASSERT_EQ(user["Service.ExecStopPost"].size(), 1u);
  EXPECT_THAT(user["Service.ExecStopPost"][0], StartsWith("-:/bin/sh -c '"));
  EXPECT_THAT(user["Service.ExecStopPost"][0], EndsWith("' sh /usr/local/bin/talaria -p %i gateway record-exit"));
}

TEST(RenderUnitDirectories, AgreeWithThePathsOfAShell) {
  EXPECT_EQ(parse(render(UnitScope::user, "/x/t", 252)).count("Service.StateDirectory"), 0u)
      << "systemd 252 would put it below XDG_CONFIG_HOME";
  EXPECT_EQ(parse(render(UnitScope::user, "/x/t", 254))["Service.StateDirectory"], Values{"talaria/%i"});
  EXPECT_EQ(parse(render(UnitScope::system))["Service.StateDirectory"], Values{"talaria/%i"});
  EXPECT_EQ(parse(render(UnitScope::system))["Service.RuntimeDirectoryPreserve"], Values{"yes"});
}

TEST(RenderUnitVersions, NothingThatTheManagerDoesNotKnowYet) {
  for (const auto scope : {UnitScope::system, UnitScope::user}) {
    EXPECT_EQ(parse(render(scope, "/x/t", 253)).count("Service.FileDescriptorStorePreserve"), 0u);
    EXPECT_EQ(parse(render(scope, "/x/t", 254))["Service.FileDescriptorStorePreserve"], Values{"restart"});
    EXPECT_EQ(parse(render(scope, "/x/t", 257))["Service.FileDescriptorStorePreserve"], Values{"restart"});
  }
}

TEST(RenderUnitLimits, TheUserScopeNeedsNoPrivileges) {
  const auto text = render(UnitScope::user);
  for (const char* directive : {"User=", "CapabilityBoundingSet=", "ProtectSystem=", "PrivateUsers=", "DynamicUser="})
    EXPECT_THAT(text, Not(HasSubstr(std::string("\n") + directive)));
}

TEST(RenderUnitLimits, RefusesWhatSystemdCannotRun) {
  for (const std::string path :
       {"talaria", "", "/opt/\n/talaria", "/opt/\xff/talaria", "/opt/\"x\"/talaria", "/opt/\\/talaria"}) {
    const auto unit = render_unit({UnitScope::user, path, 252});
    ASSERT_FALSE(unit) << path;
    EXPECT_EQ(unit.error().kind, ErrorKind::invalid);
  }
  EXPECT_FALSE(render_unit({UnitScope::user, "/usr/bin/talaria", 251}));
}

TEST(ExecWord, EscapesWhatSystemdWouldInterpret) {
  EXPECT_EQ(exec_word("", "/usr/bin/talaria"), "/usr/bin/talaria");
  EXPECT_EQ(exec_word("-", "/opt/my talaria/bin"), "-/opt/my\\x20talaria/bin");
  EXPECT_EQ(exec_word("", "/a\"b'c\\d"), "/a\\x22b\\x27c\\x5cd");
  EXPECT_EQ(exec_word("", "/100%/t"), "/100%%/t");
  EXPECT_EQ(exec_word("-", "/$HOME/t"), "-:/$HOME/t");
  EXPECT_EQ(exec_word("", "/ä"), "/\\xc3\\xa4");
}

TEST(UserDropIn, TakesUserNamesOnly) {
  const auto text = render_user_drop_in("alice");
  ASSERT_TRUE(text);
  EXPECT_EQ(parse(*text)["Service.User"], Values{"alice"});
  EXPECT_TRUE(is_our_file(*text));
  for (const char* bad : {"", "a b", "x\nExecStart=/bin/sh", "-x", "%u", "root;"})
    EXPECT_FALSE(render_user_drop_in(bad)) << bad;
}

TEST(UserDropIn, ProtectsFromRootWhatOnlyRootMayWrite) {
  for (const char* directive : {"ProtectKernelTunables", "ProtectKernelLogs", "ProtectControlGroups"}) {
    EXPECT_EQ(parse(*render_user_drop_in("root"))[fmt::format("Service.{}", directive)], Values{"yes"}) << directive;
    EXPECT_THAT(*render_user_drop_in("alice"), Not(HasSubstr(directive)));
  }
}

TEST(IsOurFile, OnlyWithTheMarkInTheFirstLine) {
  EXPECT_FALSE(is_our_file(""));
  EXPECT_FALSE(is_our_file("[Unit]\nDescription=mine\n# written by \"talaria gateway install\"\n"));
}

TEST(SystemdVersion, ReadsWhatDistributionsWrite) {
  EXPECT_EQ(*parse_systemd_version("252.39-1~deb12u2"), 252);
  EXPECT_EQ(*parse_systemd_version("v257"), 257);
  EXPECT_EQ(*parse_systemd_version("256~rc1"), 256);
  for (const char* bad : {"", "v", "next", "-3"}) EXPECT_FALSE(parse_systemd_version(bad)) << bad;
}

// systemd's own judgement, where it is installed.
class SystemdAnalyze : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("command -v systemd-analyze >/dev/null 2>&1") != 0)
      GTEST_SKIP() << "systemd-analyze is not installed";
  }
  // An executable where ExecStart= says, in a directory whose name needs every escape.
  std::string write_unit(UnitScope scope) {
    const auto dir = dir_ / "my tal%aria $HOME; ä";
    std::filesystem::create_directories(dir);
    std::filesystem::copy_file("/bin/true", dir + "/talaria", std::filesystem::copy_options::skip_existing);
    const auto path = dir_ / "talaria-gateway@.service";
    std::ofstream(path) << render(scope, dir + "/talaria");
    return path;
  }
  struct Ran {
    int exit_code;
    std::string output;
  };
  static Ran run(const std::string& command) {
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    std::string output;
    char buffer[4096];
    while (const auto n = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
    return {WEXITSTATUS(::pclose(pipe)), output};
  }
  TemporaryDirectory dir_;
};
TEST_F(SystemdAnalyze, VerifiesWithoutAWarning) {
  for (const auto scope : {UnitScope::system, UnitScope::user}) {
    const auto instance = dir_ / "talaria-gateway@my-work.service";
    const auto unit = write_unit(scope);
    if (!std::filesystem::exists(instance)) std::filesystem::create_symlink(unit, instance);
    const std::string option = scope == UnitScope::user ? "--user " : "--system ";
    const auto [exit_code, output] =
        run("XDG_RUNTIME_DIR=/run systemd-analyze verify --man=no --recursive-errors=no " + option + instance);
    EXPECT_EQ(exit_code, 0) << option << output;
    EXPECT_EQ(output, "") << option;
  }
}

TEST_F(SystemdAnalyze, TheSystemServiceIsLockedUp) {
  const auto unit = write_unit(UnitScope::system);
  const auto [exit_code, output] = run("systemd-analyze security --no-pager --offline=true --threshold=20 " + unit);
  EXPECT_EQ(exit_code, 0) << output;
  EXPECT_THAT(output, HasSubstr("Overall exposure level"));
}

}  // namespace
}  // namespace talaria
