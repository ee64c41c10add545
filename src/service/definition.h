#pragma once
// Service definitions for the managers beside systemd, filled in for a profile and a program: what `gateway install
// --print KIND` prints and packaging/ shows. Pure functions; each format has its own idea of quoting, and a path with
// blanks, quotes, '%', '$' or '&' must come out of it as it went in.
//
// They all say the same (lifecycle.md, 2): 0 was asked for and stays down; 64, 77 and 78 can't be mended by a restart
// and stay down, too; everything else, 75 and signals included, is started again.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace talaria {

enum class DefinitionKind { runit, s6, supervisord, launchd };
inline constexpr std::array<std::string_view, 4> definition_names{"runit", "s6", "supervisord", "launchd"};
[[nodiscard]] std::optional<DefinitionKind> parse_definition_kind(std::string_view name);

struct DefinitionSpec {
  std::string binary;      // absolute path of the program
  std::string profile;     // a checked name
  bool system = false;     // the machine's service: --system, and its directories are made for `user`
  std::string user;        // run as this user; empty: as whoever runs the manager
  std::string home;        // TALARIA_HOME; empty: not set
  std::string log_folder;  // launchd only: where its log goes
};

// runit and s6: a shell script that makes the service directory that its argument names. supervisord: a [program:…]
// section. launchd: a property list. invalid: a path that is not absolute, or no UTF-8, or has control characters.
[[nodiscard]] Result<std::string> render_definition(DefinitionKind kind, const DefinitionSpec& spec);

// One word for a POSIX shell, in single quotes where it needs them.
[[nodiscard]] std::string shell_word(std::string_view text);
// One word of supervisord's `command=`: read by Python's configparser (where " ;" and " #" begin a
// comment), then expanded ('%'), then split by shlex.
[[nodiscard]] std::string supervisord_word(std::string_view text);

}  // namespace talaria
