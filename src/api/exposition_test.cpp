#include "api/exposition.h"

#include <gtest/gtest.h>

#include <limits>

namespace talaria {
namespace {

TEST(Exposition, NamesAFamilyOnce) {
  Exposition out;
  out.add(Exposition::Kind::counter, "a_total", "What is counted", 3, {{"state", "done"}});
  out.add(Exposition::Kind::counter, "a_total", "What is counted", 0.25, {{"state", "failed"}, {"kind", "x"}});
  out.add(Exposition::Kind::gauge, "b", "What is measured", 1763768183.125);
  EXPECT_EQ(std::move(out).take(),
            "# HELP a_total What is counted\n# TYPE a_total counter\n"
            "a_total{state=\"done\"} 3\na_total{state=\"failed\",kind=\"x\"} 0.25\n"
            "# HELP b What is measured\n# TYPE b gauge\nb 1763768183.125\n");
}

TEST(Exposition, NoContentBreaksALine) {
  Exposition out;
  out.add(Exposition::Kind::gauge, "a", "one\ntwo \\ \"three\"", 1, {{"name", "x\"} 7\n\\é"}});
  EXPECT_EQ(std::move(out).take(),
            "# HELP a one\\ntwo \\\\ \"three\"\n# TYPE a gauge\na{name=\"x\\\"} 7\\n\\\\é\"} 1\n");
}

TEST(Exposition, NumbersThatAreNone) {
  Exposition out;
  for (const double value : {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN(), 1e300})
    out.add(Exposition::Kind::gauge, "a", "h", value);
  EXPECT_EQ(std::move(out).take(), "# HELP a h\n# TYPE a gauge\na +Inf\na -Inf\na NaN\na 1e+300\n");
}

}  // namespace
}  // namespace talaria
