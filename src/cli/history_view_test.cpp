#include "cli/history_view.h"

#include <gtest/gtest.h>

namespace talaria::cli {
namespace {

constexpr UnixMillis now = 1'800'000'000'000;

RunRow run(UnixMillis started, UnixMillis ended, const char* verdict, const char* kind) {
  RunRow row{.pid = 7, .verdict = verdict, .cause = "why", .kind = kind};
  row.started_at = started;
  row.ready_at = started + 5;
  row.ended_at = ended;
  return row;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(History, AGapIsHowLongItWasDown) {
  RunRow alive{.pid = 8};
  alive.started_at = now - 3'600'000;
  const std::string text =
      history_text({alive, run(now - 7'200'000, now - 3'601'200, "crash", "watchdog")}, true, now, false);
  EXPECT_TRUE(has(text, "down for 1.2 s")) << text;
  EXPECT_TRUE(has(text, "running for 60 min")) << text;
  EXPECT_TRUE(has(text, "crash, watchdog after 59 min")) << text;
  EXPECT_FALSE(has(text, "\x1b")) << text;
  EXPECT_LT(text.find("running"), text.find("crash"));
}

TEST(History, NobodyRunsSinceTheLastEnd) {
  EXPECT_TRUE(has(history_text({run(now - 9, now - 4, "planned", "stop")}, false, now, false), "down since"));
}

TEST(History, SaysWhoAskedWhatWasCutOffAndHowLongItTook) {
  RunRow row = run(now - 9'000, now - 4'000, "planned", "stop");
  row.evidence = R"({"asked_by":"alice\u001b[2J","cut_off":{"turns":2,"replies":0}})";
  row.phases = R"({"drain":1000,"store":0})";
  const std::string text = history_text({row}, false, now, false);
  EXPECT_TRUE(has(text, "asked for by alice")) << text;
  EXPECT_FALSE(has(text, "\x1b")) << text;
  EXPECT_TRUE(has(text, "cut off: 2 turns\n")) << text;
  EXPECT_TRUE(has(text, "took: drain 1.0 s\n")) << text;
}

TEST(History, VerdictsHaveColoursOnATerminal) {
  EXPECT_TRUE(has(history_text({run(1, 2, "crash", "sigkill")}, false, now, true), "\x1b[31mcrash, sigkill\x1b[0m"));
}

TEST(History, DurationsInTwoUnitsAtMost) {
  EXPECT_EQ(rough_duration(-5), "0 ms");
  EXPECT_EQ(rough_duration(1'250), "1.2 s");
  EXPECT_EQ(rough_duration(119'000), "119 s");
  EXPECT_EQ(rough_duration(7'200'000), "2 h 0 min");
  EXPECT_EQ(rough_duration(200'000'000), "2 d 7 h");
}

}  // namespace
}  // namespace talaria::cli
