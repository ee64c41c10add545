#pragma once
// The command line: one file per command, one table (commands.cpp) that lists them. A command adds itself below its
// noun and sets a callback that stores its exit code in the context.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "config/paths.h"

namespace talaria::cli {

// What every command knows. Lives as long as main().
struct Context {
  std::string program;  // argv[0]
  std::string profile = "default";
  bool system_scope = false;  // --system
  int exit_code = 0;          // set by the command's callback

  // Scope: --system; without it the system unit if only that exists, else the user's (root without a user manager:
  // system).
  [[nodiscard]] Scope scope() const;
  [[nodiscard]] Result<ProfilePaths> paths() const;
};

// Adds one command below its noun's app (or the root app).
using AddCommand = void (*)(CLI::App& parent, Context& context);

struct CommandEntry {
  const char* noun;  // "gateway"; empty: a command without a noun, "version"
  AddCommand add;
};

// stdout is a terminal (and NO_COLOR is not set).
[[nodiscard]] bool colour();
// Prints "talaria: <what>" to stderr and returns the exit code that belongs to the kind (lifecycle.md, 2).
int report(const Error& error);

int run(int argc, char** argv);

}  // namespace talaria::cli
