#pragma once
// Markdown, as agents write it, in the small HTML that Telegram shows
// (https://core.telegram.org/bots/api#html-style): bold, italic, struck out, code, links, quotations. Headings become
// bold, lists get their bullets, tables stand in a fixed font.

#include <string>
#include <string_view>

namespace talaria::telegram {

struct Rendered {
  std::string html;     // for parse_mode HTML
  std::string text;     // the same without tags: what the reader sees, and what Telegram counts
  bool markup = false;  // there is a tag in `html`; otherwise `text` can be sent as it is
};

// `markdown`: valid UTF-8; more than 64 KiB of it stays as it is. Never blank where `markdown` is not.
[[nodiscard]] Rendered render_markdown(std::string_view markdown);

// "a < b" → "a &lt; b", quotation marks too.
[[nodiscard]] std::string escape_html(std::string_view text);

}  // namespace talaria::telegram
