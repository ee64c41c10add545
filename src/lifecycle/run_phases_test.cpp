#include "lifecycle/run_phases.h"

#include <gtest/gtest.h>

namespace talaria {
namespace {

using namespace std::chrono_literals;

TEST(RunPhases, OneAfterAnotherInOrder) {
  const SteadyClock::time_point start{1h};
  RunPhases phases;
  EXPECT_EQ(phases.json(start), "{}");
  phases.enter("starting", start);
  phases.enter("running", start + 12ms);
  phases.enter("starting", start + 20ms);
  EXPECT_EQ(phases.json(start + 21ms), R"({"starting":13,"running":8})");
}

}  // namespace
}  // namespace talaria
