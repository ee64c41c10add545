#include "process/announcement.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "process/test_support.h"

namespace talaria {
namespace {

using testing::HasSubstr;

constexpr uid_t nobody = 65534;
const Incarnation self{4711, 987654, "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab"};

Announcement fresh() { return {self, "systemd ExecStop=", boottime_now_ms()}; }

std::size_t files_in(const std::string& directory) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
}

TEST(AnnouncementText, WhateverTheTextWhatIsWrittenCanBeRead) {
  rc::check([](const std::string& by, std::uint64_t time) {
    const Announcement made{self, by, static_cast<std::int64_t>(time >> 1U)};
    const auto once = parse_announcement(format_announcement(made));
    RC_ASSERT(once.has_value());
    RC_ASSERT(once->target == self);
    RC_ASSERT(once->boottime_ms == made.boottime_ms);
    const auto twice = parse_announcement(format_announcement(*once));
    RC_ASSERT(twice.has_value());
    RC_ASSERT(*twice == *once);
  });
  EXPECT_TRUE(parse_announcement(format_announcement({self, std::string(100'000, '"'), 1})));
}

TEST(AnnouncementText, EveryTruncationIsRefused) {
  const std::string text = format_announcement(fresh());
  for (std::size_t length = 0; length + 1 < text.size(); ++length)
    EXPECT_FALSE(parse_announcement(std::string_view(text).substr(0, length))) << length;
}

RC_GTEST_PROP(AnnouncementText, NoBytesHarm, (const std::string& bytes)) { (void)parse_announcement(bytes); }

TEST(AnnouncementValidity, ForThisIncarnationAndFresh) {
  const std::int64_t now = 1'000'000;
  const auto made_at = [](std::int64_t time) { return Announcement{self, "", time}; };
  EXPECT_TRUE(is_valid_for(made_at(now), self, now));
  EXPECT_TRUE(is_valid_for(made_at(now - 30'000), self, now));
  EXPECT_FALSE(is_valid_for(made_at(now - 30'001), self, now));
  EXPECT_FALSE(is_valid_for(made_at(now + 1), self, now));
  EXPECT_FALSE(is_valid_for(made_at(INT64_MAX), self, now));
  EXPECT_FALSE(is_valid_for(made_at(INT64_MIN), self, now));
  EXPECT_FALSE(is_valid_for(made_at(-1), self, 10));

  auto other = self;
  other.pid += 1;
  EXPECT_FALSE(is_valid_for(made_at(now), other, now));
  other = self;
  other.start_time += 1;
  EXPECT_FALSE(is_valid_for(made_at(now), other, now));
  other = self;
  other.boot_id[0] = '7';
  EXPECT_FALSE(is_valid_for(made_at(now), other, now));
}

TEST(AnnouncementMarker, IsConsumedOnce) {
  const test::TemporaryDirectory runtime;
  const Announcement made = fresh();
  const auto left = leave_announcement(runtime.path(), made);
  ASSERT_TRUE(left) << left.error().what;
  EXPECT_EQ(files_in(runtime.path()), 1U) << "no temporary file stays";
  EXPECT_EQ(std::filesystem::status(runtime.file("stop.announcement")).permissions(), std::filesystem::perms(0600));
  std::string why;
  EXPECT_EQ(take_announcement(runtime.path(), self, &why), made) << why;
  EXPECT_EQ(files_in(runtime.path()), 0U);
  EXPECT_EQ(take_announcement(runtime.path(), self, &why), std::nullopt);
  EXPECT_THAT(why, HasSubstr("there is none"));
}

TEST(AnnouncementMarker, TheLastOneCounts) {
  const test::TemporaryDirectory runtime;
  auto old = fresh();
  old.target.pid = 1;
  ASSERT_TRUE(leave_announcement(runtime.path(), old));
  ASSERT_TRUE(leave_announcement(runtime.path(), fresh()));
  EXPECT_TRUE(take_announcement(runtime.path(), self));
}

TEST(AnnouncementMarker, AStaleOrForeignOneIsConsumedWithoutEffect) {
  const test::TemporaryDirectory runtime;
  std::string why;
  auto stale = fresh();
  stale.boottime_ms -= announcement_lifetime_ms + 1;
  if (stale.boottime_ms < 0) GTEST_SKIP() << "this machine is up for less than 30 s";
  ASSERT_TRUE(leave_announcement(runtime.path(), stale));
  EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
  EXPECT_THAT(why, HasSubstr("age"));
  EXPECT_EQ(files_in(runtime.path()), 0U);

  auto future = fresh();
  future.boottime_ms += 60'000;
  ASSERT_TRUE(leave_announcement(runtime.path(), future));
  EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
  EXPECT_THAT(why, HasSubstr("age"));

  auto predecessor = fresh();
  predecessor.target.start_time -= 1;
  ASSERT_TRUE(leave_announcement(runtime.path(), predecessor));
  EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
  EXPECT_THAT(why, HasSubstr("meant for"));
  EXPECT_EQ(files_in(runtime.path()), 0U);
  EXPECT_FALSE(take_announcement(runtime.path(), self));
}

TEST(AnnouncementMarker, HostileContentsAreConsumedWithoutEffect) {
  const std::string good = format_announcement(fresh());
  for (const std::string& text : {std::string(), std::string("\xff\xfe\0x", 4), std::string(1 << 20, 'a'), good + "{}",
                                  good.substr(0, good.size() / 2), std::string(5000, ' ') + good}) {
    const test::TemporaryDirectory runtime;
    test::put(runtime.file("stop.announcement"), text);
    std::string why;
    EXPECT_FALSE(take_announcement(runtime.path(), self, &why)) << text.substr(0, 100);
    EXPECT_THAT(why, HasSubstr(runtime.file("stop.announcement")));
    EXPECT_EQ(files_in(runtime.path()), 0U);
  }
}

TEST(AnnouncementMarker, WhatIsNoRegularFileDoesNotCount) {
  std::string why;
  {
    const test::TemporaryDirectory runtime;
    test::put(runtime.file("elsewhere"), format_announcement(fresh()));
    std::filesystem::create_symlink(runtime.file("elsewhere"), runtime.file("stop.announcement"));
    EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
    EXPECT_THAT(why, HasSubstr("symbolic link"));
    EXPECT_EQ(files_in(runtime.path()), 1U) << "the link is gone, its target is not";
  }
  {
    const test::TemporaryDirectory runtime;
    ASSERT_EQ(::mkfifo(runtime.file("stop.announcement").c_str(), 0600), 0);
    EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
    EXPECT_THAT(why, HasSubstr("no regular file"));
    EXPECT_EQ(files_in(runtime.path()), 0U);
  }
  {
    const test::TemporaryDirectory runtime;
    std::filesystem::create_directory(runtime.file("stop.announcement"));
    EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
    EXPECT_THAT(why, HasSubstr("no regular file"));
    EXPECT_EQ(files_in(runtime.path()), 0U);
    // A full one is set aside and blocks nothing.
    std::filesystem::create_directories(runtime.file("stop.announcement/x"));
    EXPECT_FALSE(leave_announcement(runtime.path(), fresh()));
    EXPECT_FALSE(take_announcement(runtime.path(), self));
    EXPECT_TRUE(leave_announcement(runtime.path(), fresh()));
    EXPECT_TRUE(take_announcement(runtime.path(), self));
  }
}

TEST(AnnouncementMarker, OthersMustNotBeAbleToWriteIt) {
  const test::TemporaryDirectory runtime;
  ASSERT_TRUE(leave_announcement(runtime.path(), fresh()));
  ASSERT_EQ(::chmod(runtime.file("stop.announcement").c_str(), 0622), 0);
  std::string why;
  EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
  EXPECT_THAT(why, HasSubstr("others may write"));
}

TEST(AnnouncementMarker, AnotherUsersDoesNotCount) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory runtime;
  ASSERT_TRUE(leave_announcement(runtime.path(), fresh()));
  ASSERT_EQ(::chown(runtime.file("stop.announcement").c_str(), nobody, nobody), 0);
  std::string why;
  EXPECT_FALSE(take_announcement(runtime.path(), self, &why));
  EXPECT_THAT(why, HasSubstr("65534"));
  EXPECT_EQ(files_in(runtime.path()), 0U);
}

TEST(AnnouncementMarker, RootsIsReadByTheUserItIsMeantFor) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory runtime;
  ASSERT_EQ(::chown(runtime.path().c_str(), nobody, nobody), 0);
  const mode_t mask = ::umask(0077);
  ASSERT_TRUE(leave_announcement(runtime.path(), fresh()));
  ::umask(mask);
  EXPECT_EQ(std::filesystem::status(runtime.file("stop.announcement")).permissions(), std::filesystem::perms(0644));
  test::Forked user([&](const auto&) {
    if (!test::become_user(nobody)) return 1;
    return take_announcement(runtime.path(), self) ? 0 : 2;
  });
  EXPECT_EQ(user.reap(), 0);
  EXPECT_EQ(files_in(runtime.path()), 0U);
}

TEST(AnnouncementMarker, WhatCantBeRemovedDoesNotCount) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory runtime;  // root's, mode 0755 below: nobody can't remove anything from it
  ASSERT_EQ(::chmod(runtime.path().c_str(), 0755), 0);
  ASSERT_TRUE(leave_announcement(runtime.path(), fresh()));
  ASSERT_EQ(::chmod(runtime.file("stop.announcement").c_str(), 0644), 0);
  test::Forked user([&](const auto&) {
    if (!test::become_user(nobody)) return 1;
    std::string why;
    if (take_announcement(runtime.path(), self, &why)) return 2;
    return why.contains("can't be removed") ? 0 : 3;
  });
  EXPECT_EQ(user.reap(), 0);
}

TEST(AnnouncementMarker, RootDoesNotFollowAUsersLink) {
  TALARIA_NEEDS_ROOT();
  const test::TemporaryDirectory place;
  std::filesystem::create_directory(place.file("target"));
  std::filesystem::create_directory_symlink(place.file("target"), place.file("runtime"));
  EXPECT_TRUE(leave_announcement(place.file("runtime"), fresh())) << "root's own link is fine";
  ASSERT_TRUE(take_announcement(place.file("target"), self));
  ASSERT_EQ(::lchown(place.file("runtime").c_str(), nobody, nobody), 0);
  const auto left = leave_announcement(place.file("runtime"), fresh());
  ASSERT_FALSE(left);
  EXPECT_EQ(left.error().kind, ErrorKind::permission);
  EXPECT_EQ(files_in(place.file("target")), 0U);
}

TEST(AnnouncementMarker, NoDirectory) {
  const test::TemporaryDirectory place;
  const auto left = leave_announcement(place.file("missing"), fresh());
  ASSERT_FALSE(left);
  EXPECT_EQ(left.error().kind, ErrorKind::not_found);
  EXPECT_THAT(left.error().what, HasSubstr(place.file("missing")));
  std::string why;
  EXPECT_FALSE(take_announcement(place.file("missing"), self, &why));
  EXPECT_THAT(why, HasSubstr(place.file("missing")));
}

TEST(AnnouncementMarker, NothingThatCouldNotBeReadIsLeft) {
  const test::TemporaryDirectory runtime;
  auto wrong = fresh();
  wrong.target.boot_id = "x";
  EXPECT_FALSE(leave_announcement(runtime.path(), wrong));
  EXPECT_EQ(files_in(runtime.path()), 0U);
}

TEST(AnnouncementMarker, LeftAndTakenAtOnceItIsAlwaysWhole) {
  const test::TemporaryDirectory runtime;
  const auto before = test::open_descriptors();
  std::atomic<int> busy = 2;
  const auto leave = [&] {
    for (int i = 0; i < 500; ++i) EXPECT_TRUE(leave_announcement(runtime.path(), fresh()));
    --busy;
  };
  std::thread first(leave);
  std::thread second(leave);
  int taken = 0;
  while (busy > 0) {
    std::string why;
    if (take_announcement(runtime.path(), self, &why))
      ++taken;
    else
      EXPECT_THAT(why, HasSubstr("there is none"));
  }
  first.join();
  second.join();
  if (take_announcement(runtime.path(), self)) ++taken;
  EXPECT_GT(taken, 0);
  EXPECT_EQ(files_in(runtime.path()), 0U);
  EXPECT_EQ(test::open_descriptors(), before);
}

}  // namespace
}  // namespace talaria
