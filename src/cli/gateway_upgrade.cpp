// `talaria gateway upgrade`: the running gateway becomes another program in place. All the work is the gateway's
// (daemon/upgrade.cpp); this asks, and waits until the new version answers.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <thread>

#include "base/say.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "lifecycle/exit_code.h"
#include "process/instance_lock.h"
#include "runtime/deadline.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

constexpr Millis self_check_patience{20'000};  // the self-check has 10 s
constexpr Millis look_patience{2'000};
constexpr Millis look_every{20};
// For the drain, whose length is the configuration's, and the start.
constexpr Millis change_patience{10 * 60'000};
// While nobody holds the profile's lock: a manager starts the next one within this.
constexpr Millis patience_with_nobody{1'000};
constexpr Millis patience_with_manager{15'000};

std::string text_of(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

bool is_true(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

Result<json::object> ask(const ProfilePaths& paths, const char* method, const char* target, const json::object& body,
                         Millis patience) {
  auto answer = control_call(paths, method, target, body, patience);
  if (!answer) return std::unexpected(answer.error());
  if (!answer->is_object()) return fail(ErrorKind::internal, "the gateway's answer is no object");
  return std::move(answer->get_object());
}

// Waits until a program that began later than `since` is ready.
int await_change(const ProfilePaths& paths, const json::object& before, const std::string& to) {
  const std::string since = text_of(before, "since");
  const auto* pid = before.if_contains("pid");
  const std::string from = text_of(before, "version");
  auto nobody_since = SteadyClock::now();
  const auto deadline = Deadline::in(change_patience);
  while (!deadline.expired()) {
    const auto now = ask(paths, "GET", "/control/status", {}, look_patience);
    if (now && is_true(*now, "ready") && text_of(*now, "since") != since) {
      const auto* change = now->if_contains("upgrade");
      const std::string failure =
          change != nullptr && change->is_object() ? text_of(change->get_object(), "failure") : "";
      if (!failure.empty()) {
        return report({ErrorKind::internal, fmt::format("the upgrade to {} failed, version {} goes on: {}", to,
                                                        text_of(*now, "version"), printable(failure))});
      }
      if (pid != nullptr && now->at("pid") != *pid) {
        return report({ErrorKind::internal,
                       fmt::format("the process ended instead of becoming version {}, or right afterwards; version {} "
                                   "runs now (`{} gateway history` tells why)",
                                   to, text_of(*now, "version"), talaria_for(paths))});
      }
      fmt::print("upgraded from {} to {}\n", from, text_of(*now, "version"));
      return 0;
    }
    const auto held = ask_instance_lock(paths.state_directory);
    if (now || !held || held->held) nobody_since = SteadyClock::now();
    if (SteadyClock::now() - nobody_since >
        (before.at("unit").is_null() ? patience_with_nobody : patience_with_manager))
      return report({ErrorKind::internal,
                     fmt::format("the gateway ended instead; `{} gateway history` tells why", talaria_for(paths))});
    std::this_thread::sleep_for(look_every);
  }
  say("talaria: the gateway is still at it\n");
  return static_cast<int>(ExitCode::again);
}

int upgrade(const Context& context, const std::string& program) {
  const auto paths = context.paths();
  if (!paths) return report(paths.error());
  json::object body{{"by", fmt::format("talaria gateway upgrade (PID {}, user {})", ::getpid(), ::geteuid())}};
  if (!program.empty()) {
    std::error_code ec;
    const auto absolute = std::filesystem::absolute(program, ec);
    if (ec) return report({ErrorKind::invalid, fmt::format("{}: {}", program, ec.message())});
    body["program"] = absolute.lexically_normal().string();
  }
  const auto before = ask(*paths, "GET", "/control/status", {}, look_patience);
  if (!before) return report(before.error());
  const auto answer = ask(*paths, "POST", "/control/upgrade", body, self_check_patience);
  if (!answer) return report(answer.error());
  if (!is_true(*answer, "ok")) {
    const std::string why = text_of(*answer, "why");
    say("talaria: not upgraded, version {} goes on: {}\n", text_of(*before, "version"),
        printable(text_of(*answer, "reason")));
    if (why == "config") return static_cast<int>(ExitCode::config);
    return static_cast<int>(why == "busy" ? ExitCode::again : ExitCode::unplanned);
  }
  return await_change(*paths, *before, text_of(*answer, "to"));
}

}  // namespace

void add_gateway_upgrade(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("upgrade", "Let the running gateway become a new version in place");
  command->footer(
      "Install the new program where the old one is, then run this: the process, its PID and its open connections "
      "stay.\nThe new program is checked first; one that can't go on is refused, and the old one serves as before.\n"
      "Exit codes: 0 the new version is ready, 1 refused or failed, 75 the gateway is busy or still at it, 77 no\n"
      "permission, 78 the new version finds the configuration wrong.\n\nExamples:\n  talaria gateway upgrade\n"
      "  talaria gateway upgrade --binary /opt/talaria-0.2/bin/talaria");
  auto program = std::make_shared<std::string>();
  command->add_option("--binary", *program, "Another program than the one installed where the running one was")
      ->type_name("PATH");
  command->callback([&context, program] { context.exit_code = upgrade(context, *program); });
}

}  // namespace talaria::cli
