#include "config/placeholders.h"

#include <gtest/gtest.h>

namespace talaria {
namespace {

TEST(Placeholders, AreTextsAndPaths) {
  const auto pieces = parse_placeholders("a {{ b.c.0 }}{{@id}} }} d");
  ASSERT_TRUE(pieces);
  ASSERT_EQ(pieces->size(), 4U);
  EXPECT_EQ((*pieces)[0].literal, "a ");
  EXPECT_EQ((*pieces)[1].path, (std::vector<std::string>{"b", "c", "0"}));
  EXPECT_EQ((*pieces)[2].path, (std::vector<std::string>{"@id"}));
  EXPECT_EQ((*pieces)[3].literal, " }} d");
  EXPECT_TRUE(parse_placeholders("")->empty());
}

TEST(Placeholders, MistakesAreNamed) {
  for (const char* wrong : {"{{", "{{ a", "{{ }}", "{{}}", "{{ a..b }}", "{{ .a }}", "{{ a. }}", "{{ a b }}",
                            "{{ a | upper }}", "{{ {{ a }} }}", "{{ @env }}", "{{ @event.x }}", "{{ a\nb }}"}) {
    const auto pieces = parse_placeholders(wrong);
    ASSERT_FALSE(pieces) << wrong;
    EXPECT_EQ(pieces.error().kind, ErrorKind::invalid);
  }
  std::string deep = "a";
  for (int i = 0; i < 40; ++i) deep += ".a";
  EXPECT_FALSE(parse_placeholders("{{ " + deep + " }}"));
  std::string many;
  for (std::size_t i = 0; i <= max_placeholders; ++i) many += "{{ a }}";
  EXPECT_FALSE(parse_placeholders(many));
}

}  // namespace
}  // namespace talaria
