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

// Commands and nouns directly below app, in the order of the table (CLI11 hides what select_branch has switched off).
[[nodiscard]] std::vector<CLI::App*> children(CLI::App& app);

// Finds the words that name a command in the arguments (without argv[0]) and switches off every sibling of theirs:
// CLI11 takes any word that names *some* command for one, so that `talaria send --to x chat` would start `chat`.
// Returns what is wrong when a word names nothing, with the command that was probably meant.
[[nodiscard]] Result<> select_branch(CLI::App& root, std::span<const std::string> arguments);

// The profile where the line says nothing: TALARIA_PROFILE; else the name of the symlink that we were started by, when
// it differs from the program's own name and could name a profile; else "default". `invalid` names the variable.
[[nodiscard]] Result<std::string> implied_profile(std::string_view argv0, std::string_view executable);

}  // namespace talaria::cli
