#pragma once
// Which gateway would a command line run? For finding a second one of the same profile: units that somebody wrote
// themselves, and processes. A reading of what people write, not a shell: it looks through env, nice, sudo and
// `sh -c "…"`, and whatever it can't read is no gateway to it.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace talaria {

struct GatewayCommand {
  std::string profile = "default";
  bool system_scope = false;  // --system
  bool replace = false;       // --replace
  std::string home = {};      // TALARIA_HOME=DIR in front of the program; empty: not given there
  std::string program = {};   // the word that names the program
};

// The `gateway run` in an argument vector. With `direct` the program itself must be the first word, as in a process.
[[nodiscard]] std::optional<GatewayCommand> gateway_command(std::span<const std::string> arguments, bool direct);

// What is known of the surroundings in which such a command runs.
struct GatewaySurroundings {
  std::function<std::optional<std::string>(std::string_view name)> variable;
  bool system_scope_by_default = false;  // what a command without --system means there (cli/context.cpp)
};
// The profile and its state directory ("home", lifecycle.md); empty where it depends on what nobody told.
struct GatewayPlace {
  std::string profile;
  std::string state_directory;
};
[[nodiscard]] GatewayPlace place_of(const GatewayCommand& command, const GatewaySurroundings& at);

// The same directory, however spelled: device and inode where both can be seen, else the path.
[[nodiscard]] bool same_directory(const std::string& a, const std::string& b);

}  // namespace talaria
