#include "channel/telegram/markup.h"

#include <gtest/gtest.h>

namespace talaria::telegram {
namespace {

std::string html(std::string_view markdown) { return render_markdown(markdown).html; }

TEST(TelegramMarkup, PlainTextStaysPlain) {
  const auto rendered = render_markdown("a < b & c > d, \"quoted\"\nsecond line");
  EXPECT_FALSE(rendered.markup);
  EXPECT_EQ(rendered.text, "a < b & c > d, \"quoted\"\nsecond line");
  EXPECT_EQ(rendered.html, "a &lt; b &amp; c &gt; d, &quot;quoted&quot;\nsecond line");
}

TEST(TelegramMarkup, Inline) {
  EXPECT_EQ(html("**b** *i* ~~s~~ `c<`"), "<b>b</b> <i>i</i> <s>s</s> <code>c&lt;</code>");
  EXPECT_EQ(html("***both***"), "<i><b>both</b></i>");
  EXPECT_EQ(html("**a __b__ c**"), "<b>a b c</b>");
  EXPECT_EQ(html("5 * 3 * 2 and snake_case_name"), "5 * 3 * 2 and snake_case_name");
}

TEST(TelegramMarkup, Links) {
  EXPECT_EQ(html("[a](https://x.example/?a=\"b\"&c)"), html("[a](https://x.example/?a=\"b\"&c)"));
  EXPECT_EQ(html("[a](https://x.example/?a&c)"), "<a href=\"https://x.example/?a&amp;c\">a</a>");
  EXPECT_EQ(html("[a](notes/b.md)"), "a (notes/b.md)");
  EXPECT_EQ(html("[a](javascript:alert)"), "a (javascript:alert)");
  EXPECT_EQ(html("![](https://x.example/p.png)"), "<a href=\"https://x.example/p.png\">https://x.example/p.png</a>");
}

TEST(TelegramMarkup, Blocks) {
  EXPECT_EQ(html("# Title\n\ntext\n\n---\nend"), "<b>Title</b>\n\ntext\n\n———\n\nend");
  EXPECT_EQ(html("```cpp\nint a = 1 < 2;\n```\nafter"),
            "<pre><code class=\"language-cpp\">int a = 1 &lt; 2;</code></pre>\n\nafter");
  EXPECT_EQ(html("    indented"), "<pre>indented</pre>");
  EXPECT_EQ(html("> quoted\n> > deeper\n\nafter"), "<blockquote>quoted\n\ndeeper</blockquote>\nafter");
  EXPECT_EQ(html("<b>not ours</b>"), "&lt;b&gt;not ours&lt;/b&gt;");
}

TEST(TelegramMarkup, Lists) {
  EXPECT_EQ(html("before\n\n- a\n- b\n  - c\n  - d\n- e\n\nafter"), "before\n\n• a\n• b\n  • c\n  • d\n• e\n\nafter");
  EXPECT_EQ(html("3. a\n4. b"), "3. a\n4. b");
  EXPECT_EQ(html("- a\n\n  more\n- b"), "• a\n\n  more\n\n• b");
}

TEST(TelegramMarkup, TablesStandInAFixedFont) {
  EXPECT_EQ(html("| a | long |\n|---|---|\n| 語 | **x** |"), "<pre>a  | long\n語 | x</pre>");
}

TEST(TelegramMarkup, NothingIsLostWhereNothingWouldBeShown) {
  EXPECT_EQ(html("[a]: https://x.example"), "[a]: https://x.example");
  EXPECT_EQ(html(std::string(70'000, '*')), std::string(70'000, '*'));
}

TEST(TelegramMarkup, DeepNestingCostsNoStack) {
  EXPECT_FALSE(html(std::string(20'000, '>') + "x").empty());
  EXPECT_FALSE(html(std::string(20'000, '[')).empty());
}

}  // namespace
}  // namespace talaria::telegram
