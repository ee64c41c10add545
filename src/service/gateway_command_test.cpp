#include "service/gateway_command.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "service/fake_manager_test_support.h"

namespace talaria {
namespace {

using Words = std::vector<std::string>;

TEST(GatewayCommandOf, FindsTheRunInWhatPeopleWrite) {
  struct Case {
    Words arguments;
    GatewayCommand wanted;
  };
  const Case cases[] = {
      {{"/usr/local/bin/talaria", "gateway", "run"}, {.program = "/usr/local/bin/talaria"}},
      {{"/opt/talaria-0.1", "--system", "-p", "work", "gateway", "run"},
       {.profile = "work", .system_scope = true, .program = "/opt/talaria-0.1"}},
      {{"talaria", "gateway", "--profile=work", "run", "--replace"},
       {.profile = "work", .replace = true, .program = "talaria"}},
      {{"/usr/bin/env", "TALARIA_HOME=/srv/t", "talaria", "gateway", "run"}, {.home = "/srv/t", .program = "talaria"}},
      {{"/bin/sh", "-c", "cd /srv && TALARIA_PROFILE=work exec 'talaria' gateway run --replace; true"},
       {.profile = "work", .replace = true, .program = "talaria"}},
  };
  for (const auto& [arguments, wanted] : cases) {
    const auto found = gateway_command(arguments, false);
    ASSERT_TRUE(found) << arguments.back();
    EXPECT_EQ(found->profile, wanted.profile);
    EXPECT_EQ(found->system_scope, wanted.system_scope);
    EXPECT_EQ(found->replace, wanted.replace);
    EXPECT_EQ(found->home, wanted.home);
    EXPECT_EQ(found->program, wanted.program);
  }
}

TEST(GatewayCommandOf, NothingElseIsAGateway) {
  const Words cases[] = {{},
                         {"talaria"},
                         {"talaria", "gateway", "status"},
                         {"talaria", "config", "explain", "gateway", "run"},
                         {"vim", "gateway", "run"},
                         {"talaria", "-p", "gateway", "run"},
                         {"grep", "talaria", "file"}};
  for (const auto& arguments : cases)
    EXPECT_FALSE(gateway_command(arguments, false)) << ::testing::PrintToString(arguments);
}

TEST(GatewayCommandOf, OfAProcessOnlyTheProgramItself) {
  EXPECT_TRUE(gateway_command(Words{"./talaria", "gateway", "run"}, true));
  EXPECT_FALSE(gateway_command(Words{"/bin/sh", "-c", "talaria gateway run"}, true));
  EXPECT_FALSE(gateway_command(Words{"sudo", "talaria", "gateway", "run"}, true));
}

TEST(PlaceOf, FollowsTheRulesOfPaths) {
  const auto place = [](const GatewayCommand& command, std::map<std::string, std::string> environment,
                        bool system = false) {
    return place_of(command, {.variable = [&](std::string_view name) -> std::optional<std::string> {
                                const auto found = environment.find(std::string(name));
                                if (found == environment.end()) return {};
                                return found->second;
                              },
                              .system_scope_by_default = system})
        .state_directory;
  };
  EXPECT_EQ(place({}, {{"HOME", "/home/a"}}), "/home/a/.local/state/talaria/default");
  EXPECT_EQ(place({}, {{"HOME", "/home/a"}, {"XDG_STATE_HOME", "/s"}}), "/s/talaria/default");
  EXPECT_EQ(place({.system_scope = true}, {{"HOME", "/home/a"}}), "/var/lib/talaria/default");
  EXPECT_EQ(place({}, {{"HOME", "/root"}}, true), "/var/lib/talaria/default");
  EXPECT_EQ(place({.system_scope = true}, {{"TALARIA_HOME", "/t"}}), "/t/state");
  EXPECT_EQ(place({.home = "/u"}, {{"TALARIA_HOME", "/t"}}), "/u/state");
  EXPECT_EQ(place({}, {{"HOME", "/home/a"}, {"TALARIA_PROFILE", "work"}}), "/home/a/.local/state/talaria/work");
  EXPECT_EQ(place({}, {}), "") << "nobody told";
}

TEST(SameDirectory, IsAQuestionOfTheInode) {
  const testing::TemporaryDirectory dir;
  std::filesystem::create_directory(dir / "home");
  std::filesystem::create_directory_symlink(dir / "home", dir / "link");
  EXPECT_TRUE(same_directory(dir / "home", dir / "link"));
  EXPECT_FALSE(same_directory(dir / "home", dir / "other"));
  EXPECT_TRUE(same_directory(dir / "gone", dir / "gone"));
  EXPECT_FALSE(same_directory("", ""));
}

}  // namespace
}  // namespace talaria
