#include "service/gateway_command.h"

#include <sys/stat.h>

#include <algorithm>
#include <vector>

namespace talaria {
namespace {

std::string_view last_part(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool names_talaria(std::string_view word) { return last_part(word).starts_with("talaria"); }

// `sh -c "exec talaria gateway run"` has the words that matter inside of one.
std::vector<std::string> flatten(std::span<const std::string> arguments) {
  std::vector<std::string> words;
  for (const auto& argument : arguments) {
    std::string word;
    for (const char c : argument + " ") {
      if (c == '"' || c == '\'') continue;
      const bool between = c == ' ' || c == '\t' || c == '\n' || c == ';' || c == '&' || c == '|';
      if (!between) {
        word += c;
      } else if (!word.empty()) {
        words.push_back(std::move(word));
        word.clear();
      }
    }
  }
  return words;
}

std::optional<std::string> value_after(std::string_view word, std::string_view option) {
  if (!word.starts_with(option)) return {};
  return std::string(word.substr(option.size()));
}

// The words after the program: options may stand anywhere, "gateway run" in this order.
std::optional<GatewayCommand> read_options(std::span<const std::string> words, GatewayCommand command) {
  static constexpr std::string_view verbs[] = {"gateway", "run"};
  std::size_t verb = 0;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if ((word == "-p" || word == "--profile") && i + 1 < words.size()) {
      command.profile = words[++i];
    } else if (auto value = value_after(word, "--profile=")) {
      command.profile = std::move(*value);
    } else if (word == "--system") {
      command.system_scope = true;
    } else if (word == "--replace") {
      command.replace = true;
    } else if (!word.starts_with('-') && verb < std::size(verbs)) {
      if (word != verbs[verb++]) return {};
    }
  }
  if (verb < std::size(verbs)) return {};
  return command;
}

}  // namespace

std::optional<GatewayCommand> gateway_command(std::span<const std::string> arguments, bool direct) {
  if (arguments.empty()) return {};
  if (direct) {
    if (!names_talaria(arguments.front())) return {};
    return read_options(arguments.subspan(1), {.home = "", .program = arguments.front()});
  }
  const auto words = flatten(arguments);
  GatewayCommand command;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (auto home = value_after(words[i], "TALARIA_HOME=")) command.home = std::move(*home);
    if (auto profile = value_after(words[i], "TALARIA_PROFILE=")) command.profile = std::move(*profile);
    if (!names_talaria(words[i])) continue;
    command.program = words[i];
    if (auto found = read_options(std::span(words).subspan(i + 1), command)) return found;
  }
  return {};
}

GatewayPlace place_of(const GatewayCommand& command, const GatewaySurroundings& at) {
  const auto variable = [&](std::string_view name) { return at.variable(name).value_or(""); };
  GatewayPlace place{command.profile, ""};
  if (const auto named = variable("TALARIA_PROFILE"); !named.empty() && place.profile == "default")
    place.profile = named;
  const auto home = command.home.empty() ? variable("TALARIA_HOME") : command.home;
  if (!home.empty()) {
    place.state_directory = home + "/state";
    return place;
  }
  if (command.system_scope || at.system_scope_by_default) {
    place.state_directory = "/var/lib/talaria/" + place.profile;
    return place;
  }
  auto state = variable("XDG_STATE_HOME");
  if (!state.starts_with('/')) {
    const auto user_home = variable("HOME");
    state = user_home.starts_with('/') ? user_home + "/.local/state" : "";
  }
  if (!state.empty()) place.state_directory = state + "/talaria/" + place.profile;
  return place;
}

bool same_directory(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  if (a == b) return true;
  struct stat first{};
  struct stat second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

}  // namespace talaria
