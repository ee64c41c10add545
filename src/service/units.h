#pragma once
// The unit file: one template per scope, "talaria-gateway@.service", whose instance is the profile. Rendering is a pure
// function of what is in UnitSpec, so the same version writes the same bytes for everybody and "outdated" means just
// that. What an operator wants different goes into a drop-in, which we never touch.

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace talaria {

enum class UnitScope { system, user };

inline constexpr std::string_view service_suffix = ".service";
inline constexpr std::string_view unit_template = "talaria-gateway@.service";
inline constexpr std::size_t largest_unit_file = 256 * 1024;  // bytes; more is not read
inline constexpr int oldest_systemd = 252;
inline constexpr std::string_view default_service_user = "talaria";
// Above the drain budget (30 s by default) and what comes after it; a longer drain asks for more with
// EXTEND_TIMEOUT_USEC=.
inline constexpr int unit_stop_seconds = 60;

struct UnitSpec {
  UnitScope scope = UnitScope::user;
  std::string binary;                    // absolute path of the program
  int systemd_version = oldest_systemd;  // of the manager that will read the unit
};

// "talaria-gateway@PROFILE.service". A checked profile name needs no escaping.
[[nodiscard]] std::string unit_name(std::string_view profile);

// The unit file's text. invalid: the binary's path is not absolute, or no UTF-8, or has quotes, backslashes or control
// characters (systemd refuses such paths, however escaped), or the systemd is too old.
[[nodiscard]] Result<std::string> render_unit(const UnitSpec& spec);

// A drop-in for one instance that runs it as another user. invalid: not a user name that systemd takes.
[[nodiscard]] Result<std::string> render_user_drop_in(std::string_view user);

// Did we write it? Looks for our mark in the first line; files without it belong to somebody else.
[[nodiscard]] bool is_our_file(std::string_view text);

// The program's path as the first word of Exec…=, with `prefix` ("-" or ""): every byte that systemd.syntax(7) gives a
// meaning is escaped, '%' is doubled, and ':' is added where a '$' would be expanded.
[[nodiscard]] std::string exec_word(std::string_view prefix, std::string_view path);

// "252.39-1~deb12u2", "v257", "256~rc1" → 252, 257, 256.
[[nodiscard]] Result<int> parse_systemd_version(std::string_view text);

}  // namespace talaria
