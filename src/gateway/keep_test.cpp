// What channels keep with the gateway: files that come with messages, and where they go on reading.
#include <sys/stat.h>

#include <fstream>

#include "gateway/gateway_test_support.h"
#include "store/attachment_files.h"

namespace talaria::test {
namespace {

class KeepTest : public GatewayTest {
 protected:
  void SetUp() override { options.attachments = (directory_ / "attachments").string(); }
};

TEST_F(KeepTest, ACursorIsFoundByTheNextGateway) {
  run([](World& world) -> Task<> {
    EXPECT_EQ(co_await world.gateway->cursor("chat", "uid"), "");
    EXPECT_TRUE(co_await world.gateway->set_cursor("chat", "uid", "7/41"));
    EXPECT_TRUE(co_await world.gateway->set_cursor("chat", "uid", "7/42"));
    EXPECT_TRUE(co_await world.gateway->set_cursor("other", "uid", "1"));
  });
  run([](World& world) -> Task<> { EXPECT_EQ(co_await world.gateway->cursor("chat", "uid"), "7/42"); });
}

TEST_F(KeepTest, AFileIsKeptUnderANameOfOursAndShownToTheAgent) {
  run([](World& world) -> Task<> {
    auto file = co_await world.gateway->keep("../../etc/pass wd.png", "image/png", "bytes");
    EXPECT_TRUE(file);
    if (!file) co_return;
    EXPECT_EQ(file->size, 5);
    EXPECT_TRUE(file->path.ends_with(".png")) << file->path;
    EXPECT_EQ(file->path.find("wd"), std::string::npos);
    std::ifstream stream(file->path);
    std::string content;
    stream >> content;
    EXPECT_EQ(content, "bytes");
    struct stat found{};
    EXPECT_EQ(::stat(file->path.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0600U);

    InboundEvent event;
    event.route = {"chat", "alice", "", "1"};
    event.sender = {"alice", "alice", false};
    event.message_id = "1";
    event.text = "look";
    event.direct = true;
    event.received_at = world.clock.now();
    event.attachments.push_back(*file);
    EXPECT_TRUE(co_await world.gateway->accept(event));
    co_await world.until_sent(1);
    EXPECT_NE(world.agent->seen.at(0).back().content.find(file->path), std::string::npos);
  });
}

TEST_F(KeepTest, AnEventIsKnownFromItsJournallingOn) {
  run([](World& world) -> Task<> {
    InboundEvent event;
    event.route = {"chat", "alice", "", "1"};
    event.sender = {"alice", "alice", false};
    event.message_id = "1";
    event.text = "hello";
    event.received_at = world.clock.now();
    EXPECT_EQ(co_await world.gateway->knows(event.route, "1"), false);
    EXPECT_TRUE(co_await world.gateway->accept(event));
    EXPECT_EQ(co_await world.gateway->knows(event.route, "1"), true);
    EXPECT_EQ(co_await world.gateway->knows(event.route, "2"), false);
    co_await world.until_sent(1);
    // What a channel is given says the same.
    Inbox& inbox = *world.channel->inbox;
    EXPECT_EQ(co_await inbox.knows(event.route, "1"), true);
    event.message_id = "2";
    EXPECT_TRUE(co_await inbox.skip(event, "it can't be read"));
    EXPECT_EQ(co_await inbox.knows(event.route, "2"), true);
  });
  run([](World& world) -> Task<> { EXPECT_EQ(co_await world.gateway->knows({"chat", "alice", "", ""}, "1"), true); });
}

TEST_F(KeepTest, WhatIsSkippedIsJournalledAndAsksNoAgent) {
  run([](World& world) -> Task<> {
    InboundEvent event;
    event.route = {"chat", "alice", "", ""};
    event.message_id = "1";
    event.received_at = world.clock.now();
    EXPECT_TRUE(co_await world.gateway->skip(event, "it can't be read"));
    EXPECT_TRUE(co_await world.gateway->skip(event, "it can't be read"));
    EXPECT_EQ(co_await world.gateway->knows(event.route, "1"), true);
    EXPECT_TRUE((co_await world.gateway->accept(event)).value_or(Accepted{}).duplicate);
    EXPECT_EQ(world.agent->runs, 0);
  });
}

TEST_F(KeepTest, AFileBeyondTheLimitIsRefused) {
  run([](World& world) -> Task<> {
    auto file = co_await world.gateway->keep("big", "", std::string(max_attachment + 1, 'x'));
    EXPECT_FALSE(file);
    if (!file) EXPECT_EQ(file.error().kind, ErrorKind::limit);
  });
}

TEST_F(KeepTest, OldFilesGo) {
  auto old = keep_attachment_file(options.attachments, "a.txt", "old");
  auto fresh = keep_attachment_file(options.attachments, "b.txt", "fresh");
  ASSERT_TRUE(old && fresh);
  const timespec times[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, old->c_str(), times, 0), 0);
  EXPECT_EQ(retire_attachment_files(options.attachments, 2'000'000), 1);
  EXPECT_FALSE(std::filesystem::exists(*old));
  EXPECT_TRUE(std::filesystem::exists(*fresh));
  EXPECT_EQ(retire_attachment_files(options.attachments + "/none", 2'000'000), 0);
}

}  // namespace
}  // namespace talaria::test
