#include "lifecycle/crash_record.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <csignal>

namespace talaria {
namespace {

constexpr std::string_view good =
    "talaria-crash 1\ntype signal\nincarnation 4711:77:11111111-2222-3333-4444-555555555555\ninvocation abc\n"
    "version 0.1.0\nat 1900\nthread 4712\nname store\nsignal 11\ncode 1\naddress dead0\nreason why\nstacks\n"
    "talaria(+0x10)[0x1]\nend talaria-crash\n";

TEST(CrashRecord, IsReadAsItWasWritten) {
  const auto records = parse_crash_log(good);
  ASSERT_EQ(records.size(), 1U);
  const CrashRecord& r = records[0];
  EXPECT_EQ(r.who, (Incarnation{4711, 77, "11111111-2222-3333-4444-555555555555"}));
  EXPECT_EQ(r.at, 1900);
  EXPECT_EQ(r.address, 0xdead0U);
  EXPECT_EQ(r.stack, std::vector<std::string>{"talaria(+0x10)[0x1]"});
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(describe(r), "SIGSEGV at address 0xdead0 in thread \"store\": why");
}

TEST(CrashRecord, OneThatWasCutOffStillNamesItsCause) {
  const auto records = parse_crash_log(std::string(good.substr(0, good.find("stacks"))) + std::string(good));
  ASSERT_EQ(records.size(), 2U);
  EXPECT_FALSE(records[0].complete);
  EXPECT_EQ(records[0].signal, SIGSEGV);
  EXPECT_TRUE(records[1].complete);
}

TEST(CrashRecord, WhatIsNotOursIsPassedOver) {
  EXPECT_TRUE(parse_crash_log("").empty());
  EXPECT_TRUE(parse_crash_log("talaria-crash 1\ntype signal\n").empty());  // nobody's
  EXPECT_EQ(parse_crash_log("rubbish\n" + std::string(good)).size(), 1U);
}

// Cut anywhere, the log is read without harm, and never tells of more than it holds.
RC_GTEST_PROP(CrashRecordProperty, AnyBeginningOfALogCanBeRead, ()) {
  const std::string log = std::string(good) + std::string(good);
  const auto cut = *rc::gen::inRange<std::size_t>(0, log.size());
  const auto records = parse_crash_log(std::string_view(log).substr(0, cut));
  RC_ASSERT(records.size() <= 1 + (cut > good.size() ? 1U : 0U));
}

}  // namespace
}  // namespace talaria
