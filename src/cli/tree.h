#pragma once
// The tree of commands: built from the table, used by run() to parse and by `completion` to write down what can be
// typed.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"

namespace talaria::cli {

// Adds every noun and command below root, with the options that may stand anywhere (-p, --system), help and examples.
void build_tree(CLI::App& root, Context& context);

// Commands and nouns directly below app, in the order of the table.
[[nodiscard]] std::vector<CLI::App*> children(CLI::App& app);

// Whether the words that should name a command (arguments without argv[0]) do; else `invalid` with the command that was
// probably meant. CLI11 itself would only say that something was not expected.
[[nodiscard]] Result<> check_words(CLI::App& root, std::span<const std::string> arguments);

// The profile where the line says nothing: TALARIA_PROFILE; else the name of the symlink that we were started by, when
// it differs from the program's own name and could name a profile; else "default". `invalid` names the variable.
[[nodiscard]] Result<std::string> implied_profile(std::string_view argv0, std::string_view executable);

}  // namespace talaria::cli
