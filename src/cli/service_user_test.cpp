#include "cli/service_user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace talaria::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

// Directories as the system's service has them, of which the user owns the one with its configuration.
class LetUse : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root gives files away";
    std::string pattern = fs::temp_directory_path() / "talaria-user-XXXXXX";
    root_ = ::mkdtemp(pattern.data());
    ::chmod(root_.c_str(), 0755);
    paths_.config_file = root_ / "etc/default/config.toml";
    paths_.state_directory = root_ / "lib/default";
    paths_.runtime_directory = root_ / "run/default";
    for (const auto& made : {directory(), fs::path(paths_.state_directory), fs::path(paths_.runtime_directory)})
      fs::create_directories(made);
    std::ofstream(secret()) << "root's alone";
    ::chmod(secret().c_str(), 0600);
  }
  void TearDown() override {
    if (!root_.empty()) fs::remove_all(root_);
  }

  [[nodiscard]] fs::path directory() const { return fs::path(paths_.config_file).parent_path(); }
  [[nodiscard]] fs::path secret() const { return root_ / "shadow"; }
  static struct stat status_of(const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(::lstat(path.c_str(), &status), 0);
    return status;
  }
  void write_config(mode_t mode) const {
    std::ofstream(paths_.config_file) << "[agent.default]\n";
    ::chmod(paths_.config_file.c_str(), mode);
  }
  // Root has refused, in words that name the path, and the secret is as it was.
  void expect_refused(const std::string& path) const {
    const auto changes = let_use(user_, paths_);
    ASSERT_FALSE(changes);
    EXPECT_EQ(changes.error().kind, ErrorKind::permission);
    EXPECT_THAT(changes.error().what, HasSubstr(path));
    const auto status = status_of(secret());
    EXPECT_EQ(status.st_mode & 07777, 0600U);
    EXPECT_EQ(status.st_uid, 0U);
    EXPECT_EQ(status.st_gid, 0U);
  }

  fs::path root_;
  ProfilePaths paths_;
  const ServiceUser user_{"somebody", 54'321, 54'322, {54'322}};
};

TEST_F(LetUse, GivesTheGroupWhatItNeeds) {
  write_config(0600);
  const auto changes = let_use(user_, paths_);
  ASSERT_TRUE(changes) << changes.error().what;
  const auto file = status_of(paths_.config_file);
  EXPECT_EQ(file.st_mode & 07777, 0640U);
  EXPECT_EQ(file.st_uid, 0U);
  EXPECT_EQ(file.st_gid, user_.gid);
  EXPECT_EQ(status_of(directory()).st_mode & 07777, 0750U);
  EXPECT_EQ(status_of(directory()).st_gid, user_.gid);
  const auto again = let_use(user_, paths_);
  ASSERT_TRUE(again);
  EXPECT_THAT(*again, IsEmpty());
}

TEST_F(LetUse, AUsersOwnFileIsMadeReadableToIt) {
  write_config(0200);
  ASSERT_EQ(::chown(paths_.config_file.c_str(), user_.uid, user_.gid), 0);
  ASSERT_TRUE(let_use(user_, paths_));
  EXPECT_EQ(status_of(paths_.config_file).st_mode & 07777, 0600U);
}

TEST_F(LetUse, ASymbolicLinkGivesNothingAway) {
  fs::create_symlink(secret(), paths_.config_file);
  expect_refused(paths_.config_file);
}

TEST_F(LetUse, AHardLinkGivesNothingAway) {
  fs::create_hard_link(secret(), paths_.config_file);
  expect_refused(paths_.config_file);
}

TEST_F(LetUse, ALinkInPlaceOfTheDirectoryGivesNothingAway) {
  fs::create_directory(root_ / "elsewhere");
  ::chmod((root_ / "elsewhere").c_str(), 0700);
  fs::remove(directory());
  fs::create_directory_symlink(root_ / "elsewhere", directory());
  write_config(0640);
  expect_refused(directory());
  EXPECT_EQ(status_of(root_ / "elsewhere").st_mode & 07777, 0700U);
}

TEST_F(LetUse, WhatIsNoFileIsRefused) {
  fs::create_directory(paths_.config_file);
  ::chmod(paths_.config_file.c_str(), 0700);
  expect_refused(paths_.config_file);
}

TEST_F(LetUse, ALinkToWhatTheUserMayReadIsFine) {
  ::chmod(secret().c_str(), 0644);
  fs::create_symlink(secret(), paths_.config_file);
  EXPECT_TRUE(let_use(user_, paths_));
}

}  // namespace
}  // namespace talaria::cli
