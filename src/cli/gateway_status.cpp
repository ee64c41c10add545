// `talaria gateway status`. The live process is asked first and believed over every file; only when
// nobody answers do the lock, the service manager and the ledger speak, each for what it knows.
#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/ledger.h"
#include "lifecycle/run_json.h"
#include "process/instance_lock.h"
#include "service/manager.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

constexpr Millis patience{2'000};

std::string unit_of(const std::string& profile) { return fmt::format("talaria-gateway@{}.service", profile); }

std::optional<UnitAnswer> ask_manager(Scope scope, const std::string& unit) {
  asio::io_context loop(1);
  std::optional<UnitAnswer> found;
  asio::co_spawn(loop,
                 ask_unit(scope == Scope::system ? ManagerKind::systemd_system : ManagerKind::systemd_user, unit,
                          Deadline::in(patience)),
                 [&](std::exception_ptr bug, Result<UnitAnswer> answer) {
                   if (!bug && answer) found = std::move(*answer);
                   loop.stop();
                 });
  loop.run();
  return found;
}

json::object blank_status(const ProfilePaths& paths, Scope scope) {
  json::object status{
      {"state", "stopped"}, {"detail", ""}, {"ready", false}, {"profile", paths.profile}, {"scope", to_string(scope)}};
  for (const char* key :
       {"unit", "pid", "start_time", "since", "version", "home", "api", "standby_for", "backoff_until"}) {
    status[key] = nullptr;
  }
  status["home"] = paths.state_directory;
  status["channels"] = json::array{};
  status["queues"] = nullptr;
  status["last_end"] = nullptr;
  status["duplicates"] = json::array{};
  status["warnings"] = json::array{};
  return status;
}

// What can be said when the process does not answer itself.
json::object status_from_outside(const ProfilePaths& paths, Scope scope, const Error& why) {
  json::object status = blank_status(paths, scope);
  json::array warnings;
  const auto lock = ask_instance_lock(paths.state_directory);
  if (lock && lock->held) {
    status["state"] = "unknown";
    status["detail"] = why.what;
    if (lock->record) status["pid"] = lock->record->incarnation.pid;
  } else if (!lock) {
    warnings.push_back(json::string(lock.error().what));
  }
  if (const auto unit = ask_manager(scope, unit_of(paths.profile))) {
    const bool known = unit->main_pid != 0 || unit->active_state != "inactive";
    if (known) status["unit"] = unit_of(paths.profile);
    if (!lock || !lock->held) {
      // A process that still waits for its state directory has no control socket, but it tells the manager.
      if (unit->main_pid != 0) {
        status["state"] = unit->active_state == "deactivating" ? "draining" : "starting";
        status["pid"] = unit->main_pid;
        status["detail"] = unit->status_text;
      } else if (unit->active_state == "failed") {
        status["state"] = "failed";
        status["detail"] = fmt::format("the service manager's result: {}", unit->result);
      } else if (unit->active_state == "activating") {
        status["state"] = "starting";
        status["detail"] = unit->status_text;
      }
    }
  }
  if (auto runs = read_ledger(paths, 1); runs && !runs->empty()) {
    const json::object run = to_json(runs->front());
    json::object end;
    for (const char* key : {"verdict", "cause", "evidence", "exit_code", "at"}) end[key] = run.at(key);
    if (!end["verdict"].is_null()) {
      status["last_end"] = std::move(end);
    } else if (!lock || !lock->held) {
      status["last_end"] = json::object{{"verdict", "crash"},
                                        {"cause", "it ended without a word; the next start looks for the reason"},
                                        {"evidence", nullptr},
                                        {"exit_code", nullptr},
                                        {"at", nullptr}};
    }
  }
  status["warnings"] = std::move(warnings);
  return status;
}

int exit_code_of(const json::object& status) {
  const auto& state = status.at("state").as_string();
  if (state == "failed") return 1;
  if (state == "stopped") return 3;
  if (state == "unknown") return 4;
  return 0;
}

std::string plain(const json::value& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return printable(value.get_string());
  return json::serialize(value);
}

void print_status(const json::object& status) {
  const auto line = [](const char* name, const std::string& value) { fmt::print("{:<10} {}\n", name, value); };
  const std::string state = plain(status.at("state"));
  const char* paint = !colour() ? "" : state == "running" ? "\x1b[32m" : state == "failed" ? "\x1b[31m" : "\x1b[33m";
  line("state", fmt::format("{}{}{}{}", paint, state, *paint != '\0' ? "\x1b[0m" : "",
                            plain(status.at("detail")).empty() ? "" : " (" + plain(status.at("detail")) + ")"));
  line("profile", fmt::format("{} ({})", plain(status.at("profile")), plain(status.at("scope"))));
  // systemd is known by its unit.
  if (const auto* manager = status.if_contains("manager"); manager != nullptr && manager->is_string()) {
    const std::string_view name = manager->get_string();
    if (name != "none" && !is_systemd_scope(name)) line("manager", std::string(name));
  }
  if (!status.at("unit").is_null()) line("unit", plain(status.at("unit")));
  if (!status.at("pid").is_null())
    line("PID", fmt::format("{} since {}", plain(status.at("pid")), plain(status.at("since"))));
  if (!status.at("version").is_null()) line("version", plain(status.at("version")));
  line("home", plain(status.at("home")));
  if (!status.at("api").is_null()) line("API", plain(status.at("api")));
  if (!status.at("standby_for").is_null()) line("standby", "for " + plain(status.at("standby_for")));
  for (const json::value& channel : status.at("channels").as_array()) {
    line("channel", fmt::format("{} ({}): {}, last progress {}{}", plain(channel.at("name")), plain(channel.at("kind")),
                                plain(channel.at("state")), plain(channel.at("last_progress")),
                                channel.at("error").is_null() ? "" : ": " + plain(channel.at("error"))));
  }
  if (const auto* queues = status.at("queues").if_object()) {
    line("queues", fmt::format("{} inbound, {} turns, {} on their way out, {} dead", plain(queues->at("inbound")),
                               plain(queues->at("turns")), plain(queues->at("outbox")), plain(queues->at("dead"))));
  }
  if (const auto* end = status.at("last_end").if_object()) {
    line("last end",
         fmt::format("{} at {}: {}", plain(end->at("verdict")), plain(end->at("at")), plain(end->at("cause"))));
  }
  for (const json::value& warning : status.at("warnings").as_array()) line("warning", plain(warning));
}

int status_command(const Context& context, bool as_json) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  json::object status;
  auto answer = control_call(*paths, "GET", "/control/status", {}, patience);
  if (answer && answer->is_object()) {
    status = std::move(answer->get_object());
  } else {
    status = status_from_outside(*paths, context.scope(), answer ? Error{} : answer.error());
  }
  if (as_json) {
    fmt::print("{}\n", json::serialize(status));
  } else {
    print_status(status);
  }
  return exit_code_of(status);
}

}  // namespace

void add_gateway_status(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("status", "Say how the gateway is");
  command->footer(
      "Exit codes: 0 running, starting, draining or standby, 1 failed, 3 stopped, 4 unknown.\n\nExample:\n"
      "  talaria gateway status --json");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, as_json] { context.exit_code = status_command(context, *as_json); });
}

}  // namespace talaria::cli
