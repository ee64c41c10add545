#pragma once
// Aligned columns for the terminal.

#include <string>
#include <vector>

namespace talaria::cli {

// The first row is the heading. Columns are as wide as their widest cell (in characters, not bytes); the last is not
// padded.
[[nodiscard]] std::string format_table(const std::vector<std::vector<std::string>>& rows);

}  // namespace talaria::cli
