#include "service/fd_store.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

namespace talaria {
namespace {

using Names = std::vector<std::string>;

TEST(ListenVariables, NameWhatIsMeantForUs) {
  EXPECT_EQ(parse_listen_variables({"42", "2", "api:other"}, 42), (Names{"api", "other"}));
  EXPECT_EQ(parse_listen_variables({"42", "1", "api"}, 42), Names{"api"});
  EXPECT_EQ(parse_listen_variables({"42", "2", "api:"}, 42), (Names{"api", ""}));
  EXPECT_EQ(parse_listen_variables({"42", "0", ""}, 42), Names{});
}

TEST(ListenVariables, NamesThatDoNotFitSayNothing) {
  EXPECT_EQ(parse_listen_variables({"42", "2", ""}, 42), (Names{"unknown", "unknown"}));
  EXPECT_EQ(parse_listen_variables({"42", "1", "api:other"}, 42), Names{"unknown"});
}

TEST(ListenVariables, OfAnotherProcessAreNotTaken) {
  EXPECT_EQ(parse_listen_variables({"41", "2", "api:other"}, 42), Names{});
  EXPECT_EQ(parse_listen_variables({"", "2", "api:other"}, 42), Names{});
  EXPECT_EQ(parse_listen_variables({"42", "", ""}, 42), Names{});
}

TEST(ListenVariables, AreReadStrictly) {
  for (const char* bad : {"-1", "+1", " 1", "1 ", "1x", "1001", "99999999999999999999", "0x1"}) {
    EXPECT_FALSE(parse_listen_variables({"42", bad, ""}, 42)) << bad;
  }
  for (const char* bad : {"-42", "42 ", "4 2", "self", "99999999999999999999"}) {
    EXPECT_FALSE(parse_listen_variables({bad, "1", ""}, 42)) << bad;
  }
}

RC_GTEST_PROP(ListenVariablesProperty, WhateverTheyAreTheCountHolds,
              (const std::string& pid, const std::string& count, const std::string& names)) {
  const auto parsed = parse_listen_variables({pid, count, names}, 42);
  RC_ASSERT(!parsed || parsed->empty() || pid == "42");
}

// Descriptors from 3 on are the test runner's own, so the real taking is shown by the lab. Here: what is not ours
// stays.
TEST(TakeInheritedFds, TakesTheVariablesAwayAndNoForeignDescriptor) {
  ::setenv("LISTEN_PID", "1", 1);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_FDNAMES", "api", 1);
  EXPECT_TRUE(take_inherited_fds().empty());
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) EXPECT_EQ(std::getenv(name), nullptr) << name;
}

}  // namespace
}  // namespace talaria
