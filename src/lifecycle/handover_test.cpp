#include "lifecycle/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

namespace talaria {
namespace {

Handover example() {
  return {.self = {42, 4711, "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab"},
          .from_version = "0.1.0",
          .to_version = "0.2.0",
          .failure = {},
          .run_id = 17,
          .fds = {{"lock", 5}, {"api", 7}, {"api.connection", 9}, {"api.connection", 11}},
          .children = {{3, 4'000, 123'456}, {5, 4'001, 123'457}}};
}

TEST(Handover, IsReadAsItWasWritten) {
  const auto again = parse_handover(format_handover(example()));
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(*again, example());
}

RC_GTEST_PROP(HandoverProperty, WhateverItsTextsAreItCanBeRead, (const std::string& text)) {
  Handover handover = example();
  handover.failure = text;
  handover.to_version = text;
  handover.fds[0].name = text;
  const auto again = parse_handover(format_handover(handover));
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->fds.size() == 4u);
}

TEST(Handover, EveryCutIsRefused) {
  std::string text = format_handover(example());
  text.pop_back();  // the newline is no part of the object
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(parse_handover(std::string_view(text).substr(0, size))) << size;
}

TEST(Handover, RefusesWhatIsNotAsItMustBe) {
  const std::string good = format_handover(example());
  const auto with = [&good](std::string_view from, std::string_view to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const std::string& bad : {with("\"format\":1", "\"format\":2"),
                                 with("\"format\":1", "\"format\":\"1\""),
                                 with("handover", "something"),
                                 with("\"fd\":5", "\"fd\":2"),
                                 with("\"fd\":5", "\"fd\":-1"),
                                 with("\"fd\":5", "\"fd\":7"),
                                 with("\"fd\":5", "\"fd\":5.5"),
                                 with("\"run_id\":17", "\"run_id\":-1"),
                                 with("\"fds\":[", "\"fds\":[1,"),
                                 with("\"pid\":42", "\"pid\":0"),
                                 with("\"turn\":3", "\"turn\":5"),
                                 with("\"turn\":3", "\"turn\":0"),
                                 with("\"pid\":4000", "\"pid\":1"),
                                 with("\"pid\":4000", "\"pid\":4001"),
                                 with("\"children\":[", "\"children\":[7,"),
                                 with("\"failure\":\"\"", "\"failure\":1"),
                                 with("}\n", "} x"),
                                 std::string("{}"),
                                 std::string("[]"),
                                 std::string(2'000'000, ' ')}) {
    EXPECT_FALSE(parse_handover(bad)) << bad.substr(0, 300);
  }
}

// The whole way but for execve(2): within one process the descriptors stay as well.
class Passing : public ::testing::Test {
 protected:
  void TearDown() override { ::unsetenv(handover_variable); }
  static Luggage luggage() {
    Luggage luggage;
    luggage.facts = example();
    luggage.facts.self = *this_incarnation();
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    luggage.fds.push_back({"read", UniqueFd(ends[0])});
    luggage.fds.push_back({"write", UniqueFd(ends[1])});
    return luggage;
  }
  // As the next program finds them: nobody here closes them any more.
  static void let_go(Luggage& luggage, UniqueFd& memory) {
    for (InheritedFd& each : luggage.fds) (void)each.fd.release();
    (void)memory.release();
  }
};

TEST_F(Passing, GivesTheSameDescriptorsByName) {
  auto sent = luggage();
  auto memory = send_handover(sent);
  ASSERT_TRUE(memory) << memory.error().what;
  for (const InheritedFd& each : sent.fds) EXPECT_EQ(::fcntl(each.fd.get(), F_GETFD), 0) << "it would be closed";
  let_go(sent, *memory);

  auto taken = take_handover();
  ASSERT_TRUE(taken && *taken);
  EXPECT_EQ(std::getenv(handover_variable), nullptr);
  Luggage& got = **taken;
  EXPECT_EQ(got.facts.run_id, 17);
  const UniqueFd write_end = got.take("write");
  const UniqueFd read_end = got.take("read");
  EXPECT_EQ(::fcntl(write_end.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::write(write_end.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(read_end.get(), &byte, 1), 1);
  EXPECT_FALSE(got.take("write"));  // once
  EXPECT_FALSE(got.take("nothing"));
}

TEST_F(Passing, WhatIsMeantForAnotherProcessIsLeftAlone) {
  auto sent = luggage();
  sent.facts.self.start_time += 1;
  const auto memory = send_handover(sent);
  ASSERT_TRUE(memory);
  const auto taken = take_handover();
  ASSERT_TRUE(taken);
  EXPECT_FALSE(*taken);
  EXPECT_EQ(::fcntl(sent.fds[0].fd.get(), F_GETFD), 0) << "somebody else's descriptor was touched";
}

TEST_F(Passing, AVariableThatLeadsElsewhereIsNoHandover) {
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const UniqueFd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::string text = format_handover(example());
  ASSERT_GT(::write(unsealed.get(), text.data(), text.size()), 0);
  for (const std::string& value : {std::string(), std::string("x"), std::string("0"), std::string("-1"),
                                   std::string("999999"), std::to_string(file.get()), std::to_string(unsealed.get())}) {
    ::setenv(handover_variable, value.c_str(), 1);
    const auto taken = take_handover();
    ASSERT_TRUE(taken) << value;
    EXPECT_FALSE(*taken) << value;
    EXPECT_EQ(std::getenv(handover_variable), nullptr);
  }
  EXPECT_GE(::fcntl(file.get(), F_GETFD), 0);
  EXPECT_GE(::fcntl(unsealed.get(), F_GETFD), 0);
}

TEST_F(Passing, OneOfOursThatCantBeReadIsAnError) {
  auto sent = luggage();
  auto memory = send_handover(sent);
  ASSERT_TRUE(memory);
  std::string text = format_handover(sent.facts);
  text.replace(text.find("\"format\":1"), 10, "\"format\":9");
  UniqueFd newer(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_GT(::write(newer.get(), text.data(), text.size()), 0);
  ASSERT_EQ(::fcntl(newer.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL), 0);
  ::setenv(handover_variable, std::to_string(newer.release()).c_str(), 1);
  EXPECT_FALSE(take_handover());
}

}  // namespace
}  // namespace talaria
