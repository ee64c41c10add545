#include "lifecycle/self_check.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace talaria {
namespace {

TEST(SelfCheck, IsReadAsItWasWritten) {
  for (const SelfCheck& check : {SelfCheck{"0.2.0", true, "", ""}, SelfCheck{"0.2.0", false, "store", "too new"}}) {
    const auto again = parse_self_check(format_self_check(check));
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(*again, check);
  }
}

RC_GTEST_PROP(SelfCheckProperty, WhateverTheReasonIsItIsOneLine, (const std::string& reason)) {
  const auto line = format_self_check({"0.2.0", false, "config", reason});
  RC_ASSERT(line.find('\n') == line.size() - 1);
  RC_ASSERT(parse_self_check(line).has_value());
}

TEST(SelfCheck, WhateverElseAProgramPrintsIsNone) {
  const std::string good = format_self_check({"0.2.0", true, "", ""});
  for (const std::string& bad :
       {std::string(), std::string("\n"), std::string("ok\n"), good + good, good.substr(0, good.size() - 1),
        "\n" + good, std::string("{}\n"), std::string("[]\n"),
        std::string(R"({"talaria":"self-check","version":"1","ok":true,"why":"","reason":""})") + "\n",
        std::string(R"({"talaria":"self-check","version":"","ok":1,"why":"","reason":""})") + "\n",
        std::string(R"({"talaria":"self-check","version":"1","ok":2,"why":"","reason":""})") + "\n",
        std::string(R"({"talaria":"other","version":"1","ok":1,"why":"","reason":""})") + "\n"}) {
    EXPECT_FALSE(parse_self_check(bad)) << bad;
  }
}

}  // namespace
}  // namespace talaria
