#include "gateway/answer_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gateway/gateway_test_support.h"

namespace talaria::test {
namespace {

namespace fs = std::filesystem;

TEST(FindAnswerFiles, LinesThatNameFilesAreTakenOut) {
  const auto found = find_answer_files("Here it is.\nMEDIA: /out/a b.png \nMEDIA:/out/c.pdf\n");
  EXPECT_EQ(found.text, "Here it is.");
  EXPECT_EQ(found.paths, (std::vector<std::string>{"/out/a b.png", "/out/c.pdf"}));
}

TEST(FindAnswerFiles, WhatIsNotALineOfItsOwnStays) {
  for (const char* text : {"", "\n", "a MEDIA: /x", "MEDIA: relative", "MEDIA:", "```\nMEDIA: /x\n```", "tail\n"}) {
    const auto found = find_answer_files(text);
    EXPECT_EQ(found.text, text);
    EXPECT_TRUE(found.paths.empty()) << text;
  }
}

TEST(FindAnswerFiles, NoMoreThanTheLimit) {
  std::string text;
  for (int i = 0; i < 12; ++i) text += "MEDIA: /x\n";
  const auto found = find_answer_files(text);
  EXPECT_EQ(found.paths.size(), max_answer_files);
  EXPECT_EQ(found.text, "MEDIA: /x\nMEDIA: /x");
}

TEST(TextToShow, HoldsBackALastLineThatMayNameAFile) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"Here", "Here"},
                                                       {"ME", ""},
                                                       {"MEDIA: /x", ""},
                                                       {"MEDIA: /x\n", ""},
                                                       {"Here:\nMED", "Here:\n"},
                                                       {"Here:\nMEDIA: /x\nand", "Here:\nand"},
                                                       {"Here:\nMEDIUM", "Here:\nMEDIUM"}};
  for (const auto& [unfinished, shown] : cases) EXPECT_EQ(text_to_show(unfinished), shown) << unfinished;
}

class TakeAnswerFile : public GatewayTest {
 protected:
  TakeAnswerFile() : root((directory_ / "out").string()), kept((directory_ / "attachments").string()) {
    fs::create_directories(root + "/deep");
    write(root + "/deep/a.txt", "hello");
    write((directory_ / "secret").string(), "secret");
    options.attachments = kept;
  }
  static void write(const std::string& path, std::string_view text) { std::ofstream(path) << text; }
  ErrorKind refusal(const std::string& path) const {
    auto taken = take_answer_file(path, {root}, kept);
    EXPECT_FALSE(taken) << path;
    return taken ? ErrorKind::internal : taken.error().kind;
  }
  const std::string root, kept;
};

TEST_F(TakeAnswerFile, AFileBelowTheRootIsCopied) {
  auto taken = take_answer_file(root + "/deep/a.txt", {"/nowhere", root}, kept);
  ASSERT_TRUE(taken) << taken.error().what;
  EXPECT_EQ(taken->name, "a.txt");
  EXPECT_EQ(taken->size, 5);
  EXPECT_TRUE(taken->path.starts_with(kept + "/"));
  fs::remove(root + "/deep/a.txt");
  std::string content;
  std::ifstream(taken->path) >> content;
  EXPECT_EQ(content, "hello");
}

TEST_F(TakeAnswerFile, NothingElseLeaves) {
  fs::create_symlink(directory_ / "secret", root + "/link");
  fs::create_directory_symlink(directory_, root + "/up");
  EXPECT_EQ(refusal((directory_ / "secret").string()), ErrorKind::permission);
  EXPECT_EQ(refusal(root + "/../secret"), ErrorKind::permission);
  EXPECT_EQ(refusal(root + "/deep/../../secret"), ErrorKind::permission);
  EXPECT_EQ(refusal(root + "/link"), ErrorKind::permission);
  EXPECT_EQ(refusal(root + "/up/secret"), ErrorKind::permission);
  EXPECT_EQ(refusal(root), ErrorKind::permission);
  EXPECT_EQ(refusal("/etc/passwd"), ErrorKind::permission);
  EXPECT_EQ(refusal(root + "/none"), ErrorKind::not_found);
  EXPECT_EQ(refusal(root + "/deep"), ErrorKind::invalid);
  ASSERT_EQ(::mkfifo((root + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(refusal(root + "/fifo"), ErrorKind::invalid);
  fs::resize_file(root + "/deep/a.txt", max_attachment + 1);
  EXPECT_EQ(refusal(root + "/deep/a.txt"), ErrorKind::limit);
  EXPECT_FALSE(fs::exists(kept)) << "something was copied";
}

TEST_F(TakeAnswerFile, AnAnswerBringsItsFilesToTheChannel) {
  options.attach_from = {root};
  run([this](World& world) -> Task<> {
    world.agent->pieces = {"Look.\nMEDIA: " + root + "/deep/a.txt\nMEDIA: /etc/passwd"};
    EXPECT_TRUE(co_await world.say("alice", "1", "show"));
    while (world.agent->running == 0) co_await world.agent->begun.wait();
    world.agent->next.pulse();
    co_await world.until_sent(1);
    const Reply& reply = world.channel->sent[0];
    EXPECT_EQ(reply.attachments.size(), 1U);
    if (reply.attachments.empty()) co_return;
    EXPECT_EQ(reply.attachments[0].name, "a.txt");
    EXPECT_EQ(reply.text, "Look.\n(A file could not be attached.)");
  });
}

TEST_F(TakeAnswerFile, WithoutPermissionTheLineIsText) {
  run([this](World& world) -> Task<> {
    world.agent->pieces = {"MEDIA: " + root + "/deep/a.txt"};
    EXPECT_TRUE(co_await world.say("alice", "1", "show"));
    while (world.agent->running == 0) co_await world.agent->begun.wait();
    world.agent->next.pulse();
    co_await world.until_sent(1);
    EXPECT_TRUE(world.channel->sent[0].attachments.empty());
    EXPECT_EQ(world.channel->sent[0].text, "MEDIA: " + root + "/deep/a.txt");
  });
}

}  // namespace
}  // namespace talaria::test
