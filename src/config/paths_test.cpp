#include "config/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "config/environment_test_support.h"

namespace talaria {
namespace {

using testing::HasSubstr;

class Paths : public testing::Test {
 protected:
  Paths() {
    for (const char* name : {"TALARIA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
                             "CONFIGURATION_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"}) {
      environment.set(name, std::nullopt);
    }
    environment.set("HOME", "/home/ann");
  }
  EnvironmentGuard environment;
};

TEST_F(Paths, OfAUserFollowXdg) {
  const ProfilePaths bare = paths_for("work", Scope::user).value();
  EXPECT_EQ(bare.config_file, "/home/ann/.config/talaria/work/config.toml");
  EXPECT_EQ(bare.state_directory, "/home/ann/.local/state/talaria/work");
  EXPECT_EQ(bare.runtime_directory, "/home/ann/.local/state/talaria/work/run");
  environment.set("XDG_CONFIG_HOME", "/c");
  environment.set("XDG_STATE_HOME", "/s");
  environment.set("XDG_RUNTIME_DIR", "/run/user/7");
  const ProfilePaths xdg = paths_for("work", Scope::user).value();
  EXPECT_EQ(xdg.config_file, "/c/talaria/work/config.toml");
  EXPECT_EQ(xdg.database(), "/s/talaria/work/talaria.db");
  EXPECT_EQ(xdg.control_socket(), "/run/user/7/talaria/work/control.sock");
  environment.set("XDG_STATE_HOME", "relative");  // to be ignored, says the specification
  EXPECT_EQ(paths_for("work", Scope::user)->state_directory, "/home/ann/.local/state/talaria/work");
}

TEST_F(Paths, OfTheSystem) {
  const ProfilePaths paths = paths_for("default", Scope::system).value();
  EXPECT_EQ(paths.config_file, "/etc/talaria/default/config.toml");
  EXPECT_EQ(paths.state_directory, "/var/lib/talaria/default");
  EXPECT_EQ(paths.runtime_directory, "/run/talaria/default");
}

TEST_F(Paths, HomeIsNeededOnlyByTheUserScope) {
  environment.set("HOME", std::nullopt);
  EXPECT_EQ(paths_for("a", Scope::user).error().kind, ErrorKind::not_found);
  EXPECT_TRUE(paths_for("a", Scope::system));
  environment.set("XDG_CONFIG_HOME", "/c");
  environment.set("XDG_STATE_HOME", "/s");
  EXPECT_TRUE(paths_for("a", Scope::user));
}

TEST_F(Paths, TalariaHomeHoldsAllThree) {
  environment.set("TALARIA_HOME", "/t");
  environment.set("STATE_DIRECTORY", "/elsewhere/a");
  const ProfilePaths paths = paths_for("a", Scope::system).value();
  EXPECT_EQ(paths.config_file, "/t/config.toml");
  EXPECT_EQ(paths.state_directory, "/t/state");
  EXPECT_EQ(paths.runtime_directory, "/t/run");
  environment.set("TALARIA_HOME", "t");
  EXPECT_EQ(paths_for("a", Scope::user).error().kind, ErrorKind::invalid);
}

TEST_F(Paths, TheManagersDirectoriesWin) {
  environment.set("CONFIGURATION_DIRECTORY", "/etc/other/a");
  environment.set("STATE_DIRECTORY", "/var/lib/private/talaria/a:/second/a");
  environment.set("RUNTIME_DIRECTORY", "/run/other/a");
  const ProfilePaths paths = paths_for("a", Scope::system).value();
  EXPECT_EQ(paths.config_file, "/etc/other/a/config.toml");
  EXPECT_EQ(paths.state_directory, "/var/lib/private/talaria/a");
  EXPECT_EQ(paths.runtime_directory, "/run/other/a");
}

// STATE_DIRECTORY of a service leaks into every shell below it.
TEST_F(Paths, AnotherServicesDirectoriesAreNotOurs) {
  environment.set("STATE_DIRECTORY", "/var/lib/jenkins");
  environment.set("RUNTIME_DIRECTORY", "relative/a");
  EXPECT_EQ(paths_for("a", Scope::system)->state_directory, "/var/lib/talaria/a");
  EXPECT_EQ(paths_for("a", Scope::system)->runtime_directory, "/run/talaria/a");
}

// systemd 252, user manager: StateDirectory= lies below XDG_CONFIG_HOME.
TEST_F(Paths, AnOldUserManagerDoesNotPartServiceAndShell) {
  const std::string in_shell = paths_for("a", Scope::user)->state_directory;
  environment.set("CONFIGURATION_DIRECTORY", "/home/ann/.config/talaria/a");
  environment.set("STATE_DIRECTORY", "/home/ann/.config/talaria/a");
  EXPECT_EQ(paths_for("a", Scope::user)->state_directory, in_shell);
}

TEST_F(Paths, ProfileNamesAreUnitInstancesAndDirectories) {
  for (const std::string& good : {std::string("a"), std::string("0"), std::string("my-bot_2"), std::string(64, 'x')}) {
    EXPECT_TRUE(check_profile_name(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("-a"), std::string("_a"), std::string("A"), std::string("a/b"), std::string(".."),
        std::string("a b"), std::string("a\0b", 3), std::string(65, 'x')}) {
    EXPECT_FALSE(check_profile_name(bad)) << bad;
    EXPECT_EQ(paths_for(bad, Scope::user).error().kind, ErrorKind::invalid) << bad;
  }
}

class MakeDirectories : public testing::Test {
 protected:
  MakeDirectories() : base_(std::filesystem::temp_directory_path() / ("talaria-paths-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(base_);
    paths_.state_directory = base_ / "x/state";
    paths_.runtime_directory = base_ / "y/run";
  }
  ~MakeDirectories() override { std::filesystem::remove_all(base_); }
  static unsigned mode(const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0U;
  }
  std::filesystem::path base_;
  ProfilePaths paths_;
};

TEST_F(MakeDirectories, PrivateOnesWithTheirParents) {
  const ::mode_t before = ::umask(0);
  const Result<> made = make_directories(paths_);
  ::umask(before);
  ASSERT_TRUE(made) << made.error().what;
  for (const char* name : {"x", "x/state", "y", "y/run"}) EXPECT_EQ(mode(base_ / name), 0700U) << name;
  EXPECT_TRUE(make_directories(paths_)) << "what is there already is good";
}

TEST_F(MakeDirectories, AFileInTheWayIsNamed) {
  std::ofstream(base_ / "x") << "";
  const Result<> made = make_directories(paths_);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().what, HasSubstr((base_ / "x").string() + " is not a directory"));
}

}  // namespace
}  // namespace talaria
