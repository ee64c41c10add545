// `talaria gateway reload`: the running gateway reads its configuration again, in its own environment; ExecReload= of
// the unit calls it. And the question before a restart, which only the running gateway can answer: whether it could
// read what its configuration names.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include "base/say.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/reload.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

constexpr Millis reload_patience{75'000};  // channels that leave finish what they are sending
constexpr Millis restart_check_patience{5'000};

int refuse(const Error& mistakes) {
  say("{}\ntalaria: the configuration is wrong, so nothing was changed\n", mistakes.what);
  return static_cast<int>(ExitCode::config);
}

int reload(const Context& context) {
  const auto paths = context.paths();
  if (!paths) return report(paths.error());
  const passwd* user = ::getpwuid(::geteuid());
  const std::string by =
      fmt::format("talaria gateway reload (PID {}, {})", ::getpid(), user == nullptr ? "?" : user->pw_name);
  const auto answer = control_call(*paths, "POST", "/control/reload", {{"by", by}}, reload_patience);
  if (!answer) return answer.error().kind == ErrorKind::invalid ? refuse(answer.error()) : report(answer.error());
  const json::object& told = answer->as_object();
  const json::array& changed = told.at("changed").as_array();
  if (changed.empty()) fmt::print("reloaded: nothing has changed\n");
  for (const json::value& key : changed) fmt::print("changed: {}\n", printable(std::string_view(key.as_string())));
  if (!told.at("settled").as_bool())
    fmt::print("A channel is still leaving; `{} gateway status` shows how far the others are.\n", talaria_for(*paths));
  return 0;
}

}  // namespace

int check_running(const ProfilePaths& paths) {
  const auto answer = control_call(paths, "POST", "/control/check-restart", {}, restart_check_patience);
  return !answer && answer.error().kind == ErrorKind::invalid ? refuse(answer.error()) : 0;
}

void add_gateway_reload(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("reload", "Apply a changed configuration without a stop");
  command->footer(
      "All of it or nothing: a wrong configuration changes nothing, and every mistake is listed. Exit codes: 0 "
      "applied,\n"
      "75 the gateway does not run or is not ready, 78 the configuration is wrong.\n\nExample:\n  talaria gateway "
      "reload");
  command->callback([&context] { context.exit_code = reload(context); });
}

}  // namespace talaria::cli
