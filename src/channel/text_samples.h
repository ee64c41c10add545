#pragma once
// Texts for property tests: rapidcheck generators of what people and models write, and of what they should not.

#include <rapidcheck.h>

#include <string>
#include <vector>

namespace talaria::test {

// Characters as people see them; any sequence of these has its grapheme borders between them, and none begins with a
// character that would join the one before.
inline rc::Gen<std::string> one_grapheme() {
  return rc::gen::element<std::string>("a", "Z", "7", " ", " ", "ß", "語", "é", "e\u0301", "👍", "👍🏽",
                                       "👩‍👩‍👧", "🇩🇪", "한", "नि", "!");
}

inline rc::Gen<std::string> any_text() {
  const auto graphemes =
      rc::gen::map(rc::gen::container<std::vector<std::string>>(one_grapheme()), [](std::vector<std::string> parts) {
        std::string out;
        for (const auto& part : parts) out += part;
        return out;
      });
  // Any bytes but newlines, which the callers add themselves.
  const auto bytes = rc::gen::map(rc::gen::container<std::string>(rc::gen::arbitrary<char>()), [](std::string text) {
    for (char& c : text) {
      if (c == '\n' || c == '\r') c = '.';
    }
    return text;
  });
  const auto words = rc::gen::map(
      rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>("the ", "quick ", "fox,", "x")),
      [](std::vector<std::string> parts) {
        std::string out;
        for (const auto& part : parts) out += part;
        return out;
      });
  return rc::gen::oneOf(graphemes, bytes, words);
}

}  // namespace talaria::test
