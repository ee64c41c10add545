#pragma once
// TOML text → Config, strictly: an unknown key is an error with a suggestion, and all mistakes are reported at once,
// each with file:line:column (R9). One table (schema.cpp) names every key, its type, its default and what it does;
// loading, `config explain` and the documentation read the same table.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace talaria {

struct Diagnostic {
  std::string file;
  int line = 0;  // 1-based; 0: the file as a whole
  int column = 0;
  std::string key;      // "agent.default.base_url"; may be empty
  std::string message;  // what is wrong and what to do
};
// "FILE:LINE:COLUMN: KEY: MESSAGE"
[[nodiscard]] std::string to_string(const Diagnostic& diagnostic);

struct LoadOutcome {
  Config config;  // meaningful only when there are no diagnostics
  std::vector<Diagnostic>
      diagnostics;                   // every mistake, in the order of the file; those of the file as a whole come last
  std::map<std::string, int> lines;  // "agent.default.model" → where it stands; a key that is not here has its default
  [[nodiscard]] bool ok() const { return diagnostics.empty(); }
};

// Messages never repeat what stands where a secret belongs: it may be the secret itself.
[[nodiscard]] LoadOutcome load_config_text(std::string_view text, std::string file_name);
// A file that can't be read is one diagnostic that says so (and how to make one where there is none); so is one above 1
// MiB or one that is not a regular file.
[[nodiscard]] LoadOutcome load_config_file(const std::string& path);

}  // namespace talaria
