#pragma once
// Cutting a text into pieces that a platform accepts.
//
// What a person takes for one character, a grapheme cluster (UAX #29), may be many bytes: a letter with its accents, a
// family of emoji. A cut inside one shows as rubbish on both sides, so cuts fall between graphemes, and after a blank
// or at a line's end where that costs little. A limit is hard, though: a single "grapheme" longer than it (a letter
// under a heap of accents) is cut between code points. Limits count bytes of UTF-8, or UTF-16 code units where the
// platform does.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace talaria {

enum class TextUnit { bytes, utf16 };
// Length of valid UTF-8 in that unit.
[[nodiscard]] std::size_t length_in(TextUnit unit, std::string_view text);
// Where in valid UTF-8 the n-th UTF-16 code unit begins; the end of the text where it has no more than n. In the middle
// of a pair of surrogates: where its character begins.
[[nodiscard]] std::size_t utf16_offset(std::string_view text, std::size_t n);

// The text with every byte sequence that is no UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string replace_invalid_utf8(std::string_view text);

// Length in bytes of the first piece of `text`, which must be valid UTF-8: all of it where it fits into `max`, else the
// longest prefix that ends after a blank, if that uses at least half of the room, else between graphemes, else between
// code points. Positive unless `text` is empty; never above `max` units, of which less than 4 counts as 4.
[[nodiscard]] std::size_t split_point(std::string_view text, std::size_t max, TextUnit unit = TextUnit::bytes);

// The pieces of one line; joined they are the line again. An empty line has none.
[[nodiscard]] std::vector<std::string> split_line(std::string_view line, std::size_t max_bytes);

// Splits Markdown into messages of at most `max` units (less than 64 counts as 64), at line ends where possible. A code
// block cut in two is closed at the end of one message and opened again, with its language, in the next. The newline at
// a cut goes. Invalid UTF-8 is replaced first. Of many messages only the first `most` are made.
[[nodiscard]] std::vector<std::string> split_text(std::string_view text, std::size_t max,
                                                  TextUnit unit = TextUnit::bytes, std::size_t most = SIZE_MAX);

// A line that opens or closes a fenced code block (CommonMark 4.5): its fence, "```" or "~~~~"; empty for any other
// line. Fences of more than 16 characters are taken for ordinary text.
[[nodiscard]] std::string_view code_fence(std::string_view line);

}  // namespace talaria
