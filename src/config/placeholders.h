#pragma once
// Texts with places to be filled from a JSON document: "New issue: {{ issue.title }}". What stands between the braces
// is a path: members of objects by name, elements of arrays by number, joined by full stops; "@event" and "@id" are the
// name and the id of what came. Nothing is ever executed. Here is the syntax alone (channel/webhook/render.h fills).

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace talaria {

struct TextPiece {
  std::string literal;            // stands as it is; empty when there is a path
  std::vector<std::string> path;  // {"issue", "title"}; {"@event"}
};

inline constexpr std::size_t max_placeholders = 256;
inline constexpr std::size_t max_path_depth = 32;

// invalid: "{{" without "}}", an empty or overlong path, too many places. The message repeats no more than the path.
[[nodiscard]] Result<std::vector<TextPiece>> parse_placeholders(std::string_view text);

}  // namespace talaria
