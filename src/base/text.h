#pragma once
// Small helpers for text that people read or mistype. Text is UTF-8; input need not be valid.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace talaria {

// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours, counted in bytes.
// Costs O(|a|·|b|); both are cut at 64 bytes first, so that hostile input stays cheap.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate a person most likely meant by `word`; none when nothing is near (more than a third of the word wrong,
// at least 1 and at most 3 edits). A candidate that continues what was typed ("stat" → "status") is near too. The first
// of equals wins.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> candidates);

// At most `max_bytes` bytes of text, cut between code points, with "…" at the end when something was cut (its three
// bytes count).
[[nodiscard]] std::string truncate_utf8(std::string_view text, std::size_t max_bytes);

// Text for a message or a terminal: control characters, DEL and bytes that are no UTF-8 become "\n", "\t" or "\xNN".
[[nodiscard]] std::string printable(std::string_view text);

// JSON text in which each half of a surrogate pair that stands alone ("\ud83d") is "\ufffd". JavaScript and Python
// write such halves of a character that was cut in two (RFC 8259, 8.2), and our parser would refuse all of the text for
// it.
[[nodiscard]] std::string mend_surrogates(std::string_view json);

}  // namespace talaria
