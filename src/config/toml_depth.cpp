#include "config/toml_depth.h"

namespace talaria {
namespace {

class KeyScanner {
 public:
  KeyScanner(std::string_view text, int limit) : text_(text), limit_(limit) {}

  std::optional<TextPosition> run() {
    while (at_ < text_.size()) {
      if (const char c = text_[at_]; c == '"' || c == '\'') {
        skip_string(c);
      } else if (c == '#') {
        skip_line();
      } else if (c == '.') {
        if (++dots_ > limit_) return position();
        ++at_;
      } else {
        // What ends a key also ends the count: '=' behind it, ',' '{' '[' and a new line before the next.
        if (c == '=' || c == ',' || c == '{' || c == '[' || c == '\n') dots_ = 0;
        ++at_;
      }
    }
    return std::nullopt;
  }

 private:
  void skip_line() {
    const std::size_t end = text_.find('\n', at_);
    at_ = end == std::string_view::npos ? text_.size() : end;
  }

  void skip_string(char quote) {
    const std::string_view triple = quote == '"' ? R"(""")" : "'''";
    if (text_.substr(at_).starts_with(triple)) {
      skip_multi_line(quote, triple);
    } else {
      skip_single_line(quote);
    }
  }

  void skip_single_line(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != '\n'; ++at_) {
      if (text_[at_] == quote) {
        ++at_;
        return;
      }
      if (quote == '"' && text_[at_] == '\\') ++at_;
    }
  }

  void skip_multi_line(char quote, std::string_view triple) {
    for (at_ += triple.size(); at_ < text_.size(); ++at_) {
      if (text_.substr(at_).starts_with(triple)) {
        at_ += triple.size();
        // Up to two more quotes belong to the string: """"a"""" is legal.
        for (int extra = 0; extra < 2 && at_ < text_.size() && text_[at_] == quote; ++extra) ++at_;
        return;
      }
      if (quote == '"' && text_[at_] == '\\') ++at_;
    }
  }

  TextPosition position() const {
    TextPosition result;
    for (const char c : text_.substr(0, at_)) {
      ++result.column;
      if (c == '\n') {
        ++result.line;
        result.column = 1;
      }
    }
    return result;
  }

  std::string_view text_;
  int limit_;
  std::size_t at_ = 0;
  int dots_ = 0;
};

}  // namespace

std::optional<TextPosition> find_deep_key(std::string_view text, int limit) { return KeyScanner(text, limit).run(); }

}  // namespace talaria
