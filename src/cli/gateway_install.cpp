// `talaria gateway install` and `uninstall`: the unit template, its enabling, and what a service needs around it. Doing
// it twice changes nothing the second time; drop-ins, configuration and state stay the operator's.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/say.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/duplicate_report.h"
#include "cli/print_definition.h"
#include "cli/service_user.h"
#include "cli/unit_access.h"
#include "cli/unit_files.h"
#include "lifecycle/exit_code.h"
#include "service/linger.h"
#include "service/units.h"

namespace talaria::cli {
namespace fs = std::filesystem;
namespace {

constexpr Millis job_patience{120'000};

struct InstallOptions {
  std::string run_as_user;
  bool no_start = false;
  bool no_enable = false;
  std::string print;  // KIND: print the definition and touch nothing
};

// What both commands find out before they touch anything.
struct Installation {
  ProfilePaths paths;
  Scope scope = Scope::user;
  std::string unit;
  std::string directory;  // of unit files
  UnitControl control;

  [[nodiscard]] std::string template_path() const { return directory + "/" + std::string(unit_template); }
  [[nodiscard]] std::string drop_in_path() const { return user_drop_in_path(directory, unit); }
};

// Not Context::scope(), which prefers what is there: that the system has the unit doesn't mean that a user wants no own
// one.
Scope scope_of(const Context& context) {
  if (context.system_scope) return Scope::system;
  return ::geteuid() == 0 ? context.scope() : Scope::user;
}

Result<Installation> look_around(const Context& context) {
  const auto scope = scope_of(context);
  auto paths = paths_for(context.profile, scope);
  if (!paths) return std::unexpected(paths.error());
  if (std::getenv("TALARIA_HOME") != nullptr)
    return fail(ErrorKind::invalid,
                "TALARIA_HOME is set, and a service does not inherit it: unset it and use a profile (-p NAME)");
  if (scope == Scope::system && ::geteuid() != 0)
    return fail(ErrorKind::permission,
                "the system's service is root's to change: try again with sudo, or without --system");
  auto control = connect_manager(scope);
  if (!control) return std::unexpected(control.error());
  auto environment = control->environment(soon());
  if (!environment) return std::unexpected(environment.error());
  const auto config_home = config_home_of(*environment);
  if (scope == Scope::user && config_home.empty())
    return fail(ErrorKind::unavailable, "the user's service manager has no HOME in its environment");
  return Installation{*paths, scope, unit_name(paths->profile), unit_directory(scope, config_home),
                      std::move(*control)};
}

// A service does not see what the caller's shell exports: a directory that only the shell knows of would be another
// home.
Result<> check_same_directories(Installation& at) {
  if (at.scope == Scope::system) return {};
  const auto environment = at.control.environment(soon());
  if (!environment) return std::unexpected(environment.error());
  for (const char* name : {"XDG_CONFIG_HOME", "XDG_STATE_HOME"}) {
    const char* ours = std::getenv(name);
    const auto theirs = value_of(*environment, name);
    const auto usual = value_of(*environment, "HOME").value_or("") +
                       (std::string_view(name) == "XDG_STATE_HOME" ? "/.local/state" : "/.config");
    const auto mine = ours != nullptr && *ours == '/' ? std::string(ours) : usual;
    if (mine != theirs.value_or(usual))
      return fail(
          ErrorKind::invalid,
          fmt::format(
              "{} is {} here but {} for the service: unset it, or tell the service manager with `systemctl --user "
              "set-environment {}={}`",
              name, mine, theirs.value_or(usual), name, mine));
  }
  return {};
}

// ---- install
// --------------------------------------------------------------------------------------------------------------

// The program that is running now, where the service finds it too.
Result<std::string> own_program(Scope scope) {
  std::error_code ec;
  const auto path = fs::read_symlink("/proc/self/exe", ec).string();
  if (ec) return fail_errno(ec.value(), "find this program");
  if (path.ends_with(" (deleted)") && !fs::exists(path))
    return fail(ErrorKind::conflict, "this program has been replaced on disk meanwhile: start the new one");
  if (scope == Scope::system)
    for (const char* hidden : {"/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"})
      if (path.starts_with(hidden))
        return fail(
            ErrorKind::invalid,
            fmt::format("{} is out of the system service's sight (ProtectHome=, PrivateTmp=): install the program to "
                        "/usr/local/bin, then run it from there",
                        path));
  return path;
}

Result<std::string> unit_text(Installation& at) {
  const auto version_text = at.control.version(soon());
  if (!version_text) return std::unexpected(version_text.error());
  const auto version = parse_systemd_version(*version_text);
  if (!version) return std::unexpected(version.error());
  auto program = own_program(at.scope);
  if (!program) return std::unexpected(program.error());
  return render_unit({at.scope == Scope::system ? UnitScope::system : UnitScope::user, *program, *version});
}

void say_written(Written written, const std::string& path) {
  const char* word = written == Written::created ? "wrote" : written == Written::updated ? "updated" : "unchanged:";
  fmt::print("{} {}\n", word, path);
}

// The user of this instance: "talaria" for all, unless a drop-in of ours names another. Empty --run-as-user: as it is.
Result<> set_user(Installation& at, const std::string& wanted) {
  auto name = wanted.empty() ? std::string(default_service_user) : wanted;
  const bool has_drop_in = fs::exists(at.drop_in_path());
  const bool as_it_is = wanted.empty() && has_drop_in;
  if (as_it_is) {
    fmt::print("unchanged: {}\n", at.drop_in_path());
    const auto state = at.control.state(at.unit, soon());
    if (!state || !state->loaded()) return {};
    name = state->user.empty() ? "root" : state->user;
  }
  auto user = find_user(name);
  if (!user && user.error().kind == ErrorKind::not_found && name == default_service_user) {
    if (auto made = create_system_user(name); !made) return made;
    fmt::print("made the system user \"{}\"\n", name);
    user = find_user(name);
  }
  if (!user) return std::unexpected(user.error());
  if (user->uid == 0) say("talaria: warning: agents will run as root, though without its capabilities\n");
  auto changes = let_use(*user, at.paths);
  if (!changes) return std::unexpected(changes.error());
  for (const auto& change : *changes) fmt::print("{}\n", change);
  if (as_it_is) return {};
  if (name == default_service_user) {
    if (!has_drop_in) return {};
    auto removed = remove_our_file(at.drop_in_path());
    if (!removed) return std::unexpected(removed.error());
    fmt::print("removed {}\n", at.drop_in_path());
    return {};
  }
  const auto text = render_user_drop_in(name);
  if (!text) return std::unexpected(text.error());
  const auto written = write_our_file(at.drop_in_path(), *text);
  if (!written) return std::unexpected(written.error());
  say_written(*written, at.drop_in_path());
  return {};
}

// A user's services end with the user's last session, unless the user lingers.
void see_to_linger() {
  const passwd* user = ::getpwuid(::geteuid());
  const std::string name = user == nullptr ? "" : user->pw_name;
  if (name.empty() || linger_enabled(name)) return;
  if (enable_linger(::geteuid(), soon())) {
    fmt::print("enabled lingering for {}: the service starts at boot and outlives your sessions\n", name);
    return;
  }
  say("talaria: lingering is off for {}, so the service ends with your last session and does not start at boot; "
      "turn it on "
      "with: sudo loginctl enable-linger {}\n",
      name, name);
}

int bring_up(Installation& at, bool changed) {
  const auto before = at.control.state(at.unit, soon());
  if (!before) return report(before.error());
  if (before->active_state == "active") {
    fmt::print("{} runs already (PID {}){}\n", at.unit, before->main_pid,
               changed ? "; `talaria gateway restart` makes it use the new unit" : "");
    return 0;
  }
  clear_failure(at.control, at.unit, *before);
  const auto result = at.control.run_job(JobKind::start, at.unit, Deadline::in(job_patience));
  if (!result) return report(result.error());
  const auto after = at.control.state(at.unit, soon());
  if (!after) return report(after.error());
  if (*result == JobResult::pending) {
    say("talaria: {} is still starting: {}\n", at.unit, printable(after->status_text));
    return static_cast<int>(ExitCode::again);
  }
  if (*result != JobResult::done || after->active_state != "active")
    return report_failed_unit(at.scope, at.unit, *after, "start");
  fmt::print("started {} (PID {}){}{}\n", at.unit, after->main_pid, after->status_text.empty() ? "" : ": ",
             printable(after->status_text));
  return 0;
}

Result<> check_loaded(Installation& at) {
  const auto state = at.control.state(at.unit, soon());
  if (!state) return std::unexpected(state.error());
  if (!state->loaded())
    return fail(ErrorKind::conflict,
                fmt::format("systemd calls {} \"{}\" although {} is there; `systemctl {}status {}` says why", at.unit,
                            state->load_state, at.template_path(), at.scope == Scope::user ? "--user " : "", at.unit));
  if (state->fragment_path != at.template_path())
    return fail(ErrorKind::conflict, fmt::format("systemd takes {} from {} rather than {}: remove one of them", at.unit,
                                                 state->fragment_path, at.template_path()));
  return {};
}

int main_pid_of(Installation& at) {
  const auto state = at.control.state(at.unit, soon());
  return state ? state->main_pid : 0;
}

int install(const Context& context, const InstallOptions& options) {
  auto at = look_around(context);
  if (!at) return report(at.error());
  if (!options.run_as_user.empty() && at->scope == Scope::user)
    return report({ErrorKind::invalid, "--run-as-user is for the system's service (--system)"});
  if (auto same = check_same_directories(*at); !same) return report(same.error());
  if (const int wrong = check_config(at->paths, true); wrong != 0) return wrong;
  const auto text = unit_text(*at);
  if (!text) return report(text.error());

  const auto written = write_our_file(at->template_path(), *text);
  if (!written) return report(written.error());
  say_written(*written, at->template_path());
  if (at->scope == Scope::system)
    if (auto set = set_user(*at, options.run_as_user); !set) return report(set.error());
  if (auto reloaded = at->control.reload(Deadline::in(job_patience)); !reloaded) return report(reloaded.error());
  if (auto loaded = check_loaded(*at); !loaded) return report(loaded.error());
  if (!options.no_enable) {
    auto enabled = at->control.enable(at->unit, soon());
    if (enabled) enabled = at->control.reload(Deadline::in(job_patience));
    if (!enabled) return report(enabled.error());
    fmt::print("enabled {}\n", at->unit);
    if (at->scope == Scope::user) see_to_linger();
  }
  warn_of(duplicates_of(at->paths, at->scope, main_pid_of(*at)));
  return options.no_start ? 0 : bring_up(*at, *written == Written::updated);
}

// ---- uninstall
// ------------------------------------------------------------------------------------------------------------

Result<bool> stop_unit(Installation& at) {
  const auto state = at.control.state(at.unit, soon());
  if (!state) return std::unexpected(state.error());
  if (!state->loaded() || !state->up()) return true;
  const auto result = at.control.run_job(JobKind::stop, at.unit, Deadline::in(job_patience));
  if (!result) return std::unexpected(result.error());
  if (*result == JobResult::pending) return false;
  fmt::print("stopped {}\n", at.unit);
  return true;
}

// The template serves every profile of the scope: it goes with the last of them.
Result<std::vector<std::string>> other_instances(Installation& at) {
  auto others = other_enabled_instances(at.directory, at.unit);
  auto listed = at.control.list("talaria-gateway@*.service", soon());
  if (!listed) return std::unexpected(listed.error());
  for (const auto& [name, active] : *listed)
    if (name != at.unit && active != "inactive" && active != "failed") others.push_back(name);
  return others;
}

Result<> remove_files(Installation& at) {
  const auto drop_in = remove_our_file(at.drop_in_path());
  if (!drop_in && drop_in.error().kind != ErrorKind::conflict) return std::unexpected(drop_in.error());
  if (!drop_in) {
    fmt::print("kept {}: somebody else wrote it\n", at.drop_in_path());
  } else if (*drop_in) {
    fmt::print("removed {}\n", at.drop_in_path());
    ::rmdir(fs::path(at.drop_in_path()).parent_path().c_str());  // where an operator's own drop-in is, it stays
  }
  const auto others = other_instances(at);
  if (!others) return std::unexpected(others.error());
  if (!others->empty()) {
    fmt::print("kept {}: {} needs it\n", at.template_path(), others->front());
    return {};
  }
  const auto removed = remove_our_file(at.template_path());
  if (!removed) return std::unexpected(removed.error());
  fmt::print("{} {}\n", *removed ? "removed" : "not there:", at.template_path());
  return {};
}

int uninstall(const Context& context) {
  auto at = look_around(context);
  if (!at) return report(at.error());
  const auto stopped = stop_unit(*at);
  if (!stopped) return report(stopped.error());
  if (!*stopped) {
    say("talaria: {} is still stopping; nothing was removed, try again\n", at->unit);
    return static_cast<int>(ExitCode::again);
  }
  if (auto disabled = at->control.disable(at->unit, soon()); !disabled && disabled.error().kind != ErrorKind::not_found)
    return report(disabled.error());
  if (auto removed = remove_files(*at); !removed) return report(removed.error());
  if (auto reloaded = at->control.reload(Deadline::in(job_patience)); !reloaded) return report(reloaded.error());
  (void)at->control.reset_failed(at->unit, soon());  // most often there is nothing to reset
  fmt::print("kept {} and {}\n", at->paths.config_file, at->paths.state_directory);
  return 0;
}

}  // namespace

void add_gateway_install(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("install", "Make the gateway a service of systemd, and start it");
  command->footer(
      "The configuration must be there and right. Run it again after an update of the program.\n"
      "Exit codes: 0 done, 73 somebody else's unit is in the way, 75 try again, 77 no permission, 78 the "
      "configuration\n"
      "is wrong.\n\nExample:\n  talaria -p work gateway install");
  auto options = std::make_shared<InstallOptions>();
  command
      ->add_option("--run-as-user", options->run_as_user,
                   "With --system: run as this user (default \"talaria\", made where missing)")
      ->type_name("USER");
  command->add_flag("--no-start", options->no_start, "Don't start it now");
  command->add_flag("--no-enable", options->no_enable, "Don't start it at boot");
  command->add_option("--print", options->print, "Print the service's definition for another manager, touch nothing")
      ->type_name("KIND")
      ->check(CLI::IsMember(printable_definitions()));
  command->callback([&context, options] {
    context.exit_code = options->print.empty() ? install(context, *options)
                                               : print_definition(context, options->print, options->run_as_user);
  });
}

void add_gateway_uninstall(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("uninstall", "Stop the service and remove its unit");
  command->footer("Configuration, state and drop-ins stay.\n\nExample:\n  talaria -p work gateway uninstall");
  command->callback([&context] { context.exit_code = uninstall(context); });
}

}  // namespace talaria::cli
