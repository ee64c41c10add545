#pragma once
// toml++ bounds the nesting of values but not of keys: "a.a.a.a. …" makes as many tables as there are dots, and freeing
// them recurses as deep. So the keys are looked at before the parser sees them.

#include <optional>
#include <string_view>

namespace talaria {

struct TextPosition {
  int line = 1;
  int column = 1;  // in bytes
};

// Where the first key with more than `limit` dots stands. Understands strings and comments as TOML 1.0 does; after a
// syntax error in the text the answer is of no meaning, and of no importance, because the parser stops there.
[[nodiscard]] std::optional<TextPosition> find_deep_key(std::string_view text, int limit);

}  // namespace talaria
