#include "base/time.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace talaria {
namespace {

TEST(Duration, ReadsUnitsAndTheirSums) {
  EXPECT_EQ(*parse_duration("30s"), Millis{30'000});
  EXPECT_EQ(*parse_duration("1h30m"), Millis{5'400'000});
  EXPECT_EQ(*parse_duration("1.5s"), Millis{1'500});
  EXPECT_EQ(*parse_duration("250ms"), Millis{250});
}

TEST(Duration, RefusesWhatIsNone) {
  for (const char* text : {"", "30", "s", "-1s", "1 s", "1e3s", "nan", "1x", "99999999999999d", "0x1s"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  EXPECT_EQ(parse_duration("\x1b[31m").error().what.find('\x1b'), std::string::npos)
      << "a terminal must not be steered";
}

RC_GTEST_PROP(Duration, WhatIsWrittenIsReadBack, ()) {
  const auto d = Millis(*rc::gen::inRange<std::int64_t>(0, 400LL * 86'400'000));
  RC_ASSERT(*parse_duration(format_duration(d)) == d);
}

TEST(Rfc3339, IsUtcWithMilliseconds) {
  EXPECT_EQ(format_rfc3339(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(1'772'368'496'789), "2026-03-01T12:34:56.789Z");
  EXPECT_EQ(format_rfc3339(-1), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace talaria
