#include "channel/telegram/markup.h"

#include <cmark-gfm-core-extensions.h>
#include <cmark-gfm.h>
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace talaria::telegram {

namespace {

constexpr std::size_t largest = 64 * 1024;

struct FreeParser {
  void operator()(cmark_parser* parser) const { cmark_parser_free(parser); }
};
struct FreeNode {
  void operator()(cmark_node* node) const { cmark_node_free(node); }
};
struct FreeIterator {
  void operator()(cmark_iter* iterator) const { cmark_iter_free(iterator); }
};

std::unique_ptr<cmark_node, FreeNode> parse(std::string_view markdown) {
  cmark_gfm_core_extensions_ensure_registered();
  const std::unique_ptr<cmark_parser, FreeParser> parser(
      cmark_parser_new(CMARK_OPT_VALIDATE_UTF8 | CMARK_OPT_STRIKETHROUGH_DOUBLE_TILDE));
  for (const char* name : {"table", "strikethrough"}) {
    if (auto* extension = cmark_find_syntax_extension(name); extension != nullptr)
      cmark_parser_attach_syntax_extension(parser.get(), extension);
  }
  cmark_parser_feed(parser.get(), markdown.data(), markdown.size());
  return std::unique_ptr<cmark_node, FreeNode>(cmark_parser_finish(parser.get()));
}

std::string_view view(const char* text) { return text != nullptr ? std::string_view(text) : std::string_view(); }

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; }

// Columns on a screen with a fixed font.
std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    utf8proc_int32_t point = 0;
    const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                    static_cast<utf8proc_ssize_t>(text.size()), &point);
    if (n <= 0) return width + text.size();
    width += static_cast<std::size_t>(std::max(0, utf8proc_charwidth(point)));
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return width;
}

// What can be a link's target in a chat; anything else (a path in the agent's own world) is shown in words.
bool is_web_address(std::string_view url) {
  return (url.starts_with("https://") || url.starts_with("http://") || url.starts_with("tg://") ||
          url.starts_with("mailto:")) &&
         url.size() <= 2000;
}

// Walks the tree once, from event to event: nesting, however deep, costs no stack.
class Writer {
 public:
  Rendered run(cmark_node* root) {
    const std::unique_ptr<cmark_iter, FreeIterator> iterator(cmark_iter_new(root));
    for (;;) {
      const auto event = cmark_iter_next(iterator.get());
      if (event == CMARK_EVENT_DONE) return std::move(out_);
      auto* node = cmark_iter_get_node(iterator.get());
      if (event == CMARK_EVENT_ENTER) {
        enter(node);
      } else {
        leave(node);
      }
    }
  }

 private:
  struct List {
    bool ordered = false;
    bool tight = true;
    int next = 1;
  };

  void enter(cmark_node* node) {
    switch (cmark_node_get_type(node)) {
      case CMARK_NODE_PARAGRAPH: return begin_block();
      case CMARK_NODE_HEADING: begin_block(); return open(bold_, "<b>");
      case CMARK_NODE_BLOCK_QUOTE: begin_block(); return open(quote_, "<blockquote>");
      case CMARK_NODE_LIST: return enter_list(node);
      case CMARK_NODE_ITEM: return enter_item();
      case CMARK_NODE_CODE_BLOCK: return code_block(node);
      case CMARK_NODE_HTML_BLOCK: begin_block(); return text(without_newline(view(cmark_node_get_literal(node))));
      case CMARK_NODE_THEMATIC_BREAK: begin_block(); return text("———");
      case CMARK_NODE_TEXT:
      case CMARK_NODE_HTML_INLINE: return text(view(cmark_node_get_literal(node)));
      case CMARK_NODE_SOFTBREAK:
      case CMARK_NODE_LINEBREAK: return line_break();
      case CMARK_NODE_CODE:
        tag("<code>");
        text(view(cmark_node_get_literal(node)));
        return tag("</code>");
      case CMARK_NODE_EMPH: return open(italic_, "<i>");
      case CMARK_NODE_STRONG: return open(bold_, "<b>");
      case CMARK_NODE_LINK:
      case CMARK_NODE_IMAGE: return enter_link(node);
      default: return enter_extension(view(cmark_node_get_type_string(node)));
    }
  }

  void leave(cmark_node* node) {
    switch (cmark_node_get_type(node)) {
      case CMARK_NODE_HEADING: return close(bold_, "</b>");
      case CMARK_NODE_BLOCK_QUOTE:
        close(quote_, "</blockquote>");
        after_quote_ = true;
        return;
      case CMARK_NODE_LIST: lists_.pop_back(); return;
      case CMARK_NODE_EMPH: return close(italic_, "</i>");
      case CMARK_NODE_STRONG: return close(bold_, "</b>");
      case CMARK_NODE_LINK:
      case CMARK_NODE_IMAGE: return leave_link(node);
      default: return leave_extension(view(cmark_node_get_type_string(node)));
    }
  }

  // Blank line between blocks; none between the lines of a tight list, nor at the beginning of an item or a quotation.
  void begin_block() {
    if (in_cell_) return;
    const bool tight = (!lists_.empty() && lists_.back().tight) || after_quote_;
    after_quote_ = false;
    if (fresh_ || out_.text.empty()) {
      fresh_ = false;
      return;
    }
    gap(tight ? 1 : 2, lists_.size());
  }
  // New lines, the last of them indented.
  void gap(std::size_t lines, std::size_t level) {
    const std::string blank = std::string(lines, '\n') + std::string(2 * std::min<std::size_t>(level, 8), ' ');
    out_.text += blank;
    out_.html += blank;
  }
  void line_break() {
    if (in_cell_) return text(" ");
    gap(1, lists_.size());
  }

  void enter_list(cmark_node* node) {
    lists_.push_back({cmark_node_get_list_type(node) == CMARK_ORDERED_LIST, cmark_node_get_list_tight(node) != 0,
                      cmark_node_get_list_start(node)});
    first_item_ = true;
  }
  void enter_item() {
    List& list = lists_.back();
    if (!out_.text.empty() && !fresh_) {
      const bool nested = lists_.size() > 1;
      const bool close = first_item_ ? nested || after_quote_ : list.tight;
      gap(close ? 1 : 2, lists_.size() - 1);
    }
    text(list.ordered ? fmt::format("{}. ", list.next++) : std::string("• "));
    first_item_ = false;
    fresh_ = true;
    after_quote_ = false;
  }

  static std::string_view without_newline(std::string_view text) {
    while (text.ends_with('\n')) text.remove_suffix(1);
    return text;
  }
  void code_block(cmark_node* node) {
    begin_block();
    const auto info = view(cmark_node_get_fence_info(node));
    const auto language = info.substr(0, info.find(' '));
    const bool plain = language.empty() || language.size() > 40;
    tag(plain ? "<pre>" : fmt::format("<pre><code class=\"language-{}\">", escape_html(language)));
    text(without_newline(view(cmark_node_get_literal(node))));
    tag(plain ? "</pre>" : "</code></pre>");
  }

  void enter_link(cmark_node* node) {
    link_start_ = out_.text.size();
    if (is_web_address(view(cmark_node_get_url(node))))
      tag(fmt::format("<a href=\"{}\">", escape_html(view(cmark_node_get_url(node)))));
  }
  void leave_link(cmark_node* node) {
    const auto url = view(cmark_node_get_url(node));
    const bool empty = !in_cell_ && out_.text.size() == link_start_;
    if (is_web_address(url)) {
      if (empty) text(url);
      tag("</a>");
    } else if (!url.empty()) {
      text(empty ? std::string(url) : fmt::format(" ({})", url));
    }
  }

  void enter_extension(std::string_view type) {
    if (type == "strikethrough") return open(struck_, "<s>");
    if (type == "table") rows_.clear();
    if (type == "table_header" || type == "table_row") rows_.emplace_back();
    if (type == "table_cell" && !rows_.empty()) {
      rows_.back().emplace_back();
      in_cell_ = true;
    }
  }
  void leave_extension(std::string_view type) {
    if (type == "strikethrough") return close(struck_, "</s>");
    if (type == "table_cell") in_cell_ = false;
    if (type == "table") write_table();
  }
  void write_table() {
    std::vector<std::size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()));
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    }
    std::string lines;
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        // One huge cell must not pad the others into nothing but blanks.
        const auto width = std::min<std::size_t>(widths[i], 40);
        const auto own = width_of(row[i]);
        line += row[i];
        if (i + 1 < row.size()) line += std::string(width > own ? width - own : 0, ' ') + " | ";
      }
      lines += line + "\n";
    }
    begin_block();
    tag("<pre>");
    text(without_newline(lines));
    tag("</pre>");
  }

  // Bold in bold is bold: only the outermost counts.
  void open(int& depth, std::string_view begin) {
    if (depth++ == 0) tag(begin);
    if (&depth == &quote_) fresh_ = true;
  }
  void close(int& depth, std::string_view end) {
    if (--depth == 0) tag(end);
  }
  void tag(std::string_view words) {
    if (in_cell_) return;
    out_.html += words;
    out_.markup = true;
  }
  void text(std::string_view words) {
    if (in_cell_) {
      rows_.back().back() += words;
      return;
    }
    out_.text += words;
    out_.html += escape_html(words);
  }

  Rendered out_;
  std::vector<List> lists_;
  std::vector<std::vector<std::string>> rows_;  // of the table
  bool in_cell_ = false;
  bool first_item_ = false;
  bool fresh_ = false;  // the next block stands right behind a bullet or the beginning of a quotation
  bool after_quote_ = false;
  int bold_ = 0;
  int italic_ = 0;
  int struck_ = 0;
  int quote_ = 0;
  std::size_t link_start_ = 0;
};

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

Rendered render_markdown(std::string_view markdown) {
  Rendered unchanged{escape_html(markdown), std::string(markdown), false};
  if (markdown.size() > largest) return unchanged;
  const auto root = parse(markdown);
  if (!root) return unchanged;
  Rendered rendered = Writer().run(root.get());
  // Nothing but the definition of a link, say.
  return is_blank(rendered.text) ? unchanged : rendered;
}

}  // namespace talaria::telegram
