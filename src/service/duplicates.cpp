#include "service/duplicates.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "process/small_file.h"
#include "service/bus.h"
#include "service/gateway_command.h"
#include "service/unit_control.h"
#include "service/units.h"

namespace talaria {
namespace fs = std::filesystem;
namespace {

bool may_run_a_gateway(const fs::path& file) {
  const auto text = read_small_file(file.string(), largest_unit_file);
  return text && text->contains("ExecStart") && text->contains("talaria") && text->contains("gateway") &&
         text->contains("run");
}

// One manager that can be asked: the system's, our own user's, or (for root) another user's.
struct Manager {
  std::string scope;
  std::string user;  // not ours: whose it is
  uid_t uid = 0;
  std::vector<BusEndpoint> endpoints;
};

std::vector<Manager> managers() {
  std::vector<Manager> found{
      {"system", "", 0, manager_endpoints(ManagerKind::systemd_system)},
      {"user", "", ::geteuid(), manager_endpoints(ManagerKind::systemd_user)},
  };
  if (::geteuid() != 0) return found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/run/user", ec)) {
    const auto socket = entry.path() / "systemd/private";
    std::error_code ignored;
    if (!fs::exists(socket, ignored)) continue;
    const auto name = entry.path().filename().string();
    const auto uid = static_cast<uid_t>(std::strtoul(name.c_str(), nullptr, 10));
    if (uid == ::geteuid()) continue;
    const passwd* user = ::getpwuid(uid);
    found.push_back({"user", user == nullptr ? name : user->pw_name, uid, {{socket.string(), false}}});
  }
  return found;
}

std::optional<std::string> value_in(const std::vector<std::string>& environment, std::string_view name) {
  for (const auto& entry : environment)
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return entry.substr(name.size() + 1);
  return {};
}

// What a unit's command would see, as far as its manager tells.
GatewaySurroundings surroundings_of(const Manager& manager, const UnitState& unit,
                                    const std::vector<std::string>& managers_own) {
  return {.variable = [&](std::string_view name) -> std::optional<std::string> {
            if (auto value = value_in(unit.environment, name)) return value;
            if (manager.scope == "user") return value_in(managers_own, name);
            if (name != "HOME") return {};
            const passwd* user = unit.user.empty() ? ::getpwuid(0) : ::getpwnam(unit.user.c_str());
            return user == nullptr ? std::optional<std::string>() : user->pw_dir;
          },
          .system_scope_by_default = manager.scope == "system" && (unit.user.empty() || unit.user == "root")};
}

std::string state_word(const UnitState& unit) {
  if (unit.status_text.starts_with("standby")) return "standby";
  if (unit.active_state == "active") return "running";
  if (unit.active_state == "deactivating") return "stopping";
  if (unit.up()) return "starting";
  return "enabled";
}

std::string remedy_for(const Manager& manager, const std::string& unit) {
  if (manager.scope == "system")
    return fmt::format("{}systemctl disable --now {}", ::geteuid() == 0 ? "" : "sudo ", unit);
  if (manager.user.empty()) return "systemctl --user disable --now " + unit;
  return fmt::format("systemctl --user --machine={}@ disable --now {}", manager.user, unit);
}

std::optional<Duplicate> judge(const Manager& manager, const std::string& name, const UnitState& unit,
                               const std::vector<std::string>& managers_own, const DuplicateQuestion& question) {
  if (!unit.loaded() || (!unit.up() && !unit.enabled())) return {};
  const auto command = gateway_command(unit.command, false);
  if (!command) return {};
  const auto place = place_of(*command, surroundings_of(manager, unit, managers_own));
  Duplicate found;
  found.kind = "unit";
  found.scope = manager.scope;
  found.user = manager.user;
  found.unit = name;
  found.pid = unit.main_pid;
  found.state = state_word(unit);
  found.home = place.state_directory;
  found.same_home = same_directory(found.home, question.state_directory);
  found.replaces = command->replace;
  if (!found.same_home && (place.profile != question.profile || question.explicit_home)) return {};
  found.text = fmt::format(
      "the {}{} unit {} ({}{}) {}{}", manager.user.empty() ? "" : manager.user + "'s ",
      manager.scope == "system" ? "system" : "user", name, found.state,
      found.pid != 0 ? fmt::format(", PID {}", found.pid) : "",
      found.same_home ? "runs a gateway on this state directory too"
                      : fmt::format("runs a profile \"{}\" too, with its state in {}; the two share their bot accounts "
                                    "if their configurations do",
                                    place.profile, found.home.empty() ? "another place" : found.home),
      found.replaces ? "; it runs with --replace, which a service must not" : "");
  found.remedy = remedy_for(manager, name);
  return found;
}

std::vector<std::string> candidates(UnitControl& control, Deadline deadline) {
  const auto directories = control.unit_path(deadline);
  if (!directories) return {};
  std::set<std::string> names;
  for (const auto& name : gateway_units_in(*directories)) {
    const auto at = name.find('@');
    if (at == std::string::npos || !name.substr(at).starts_with("@.")) {
      names.insert(name);
      continue;
    }
    for (auto& instance : enabled_instances_in(*directories, name)) names.insert(std::move(instance));
    if (const auto loaded = control.list(name.substr(0, at + 1) + "*" + std::string(service_suffix), deadline))
      for (const auto& [instance, state] : *loaded) names.insert(instance);
  }
  return {names.begin(), names.end()};
}

void ask(const Manager& manager, const DuplicateQuestion& question, Deadline deadline,
         std::vector<Duplicate>& duplicates) {
  if (manager.endpoints.empty()) return;
  auto control = UnitControl::connect(manager.endpoints, deadline);
  if (!control) return;
  const auto environment = control->environment(deadline);
  const bool own_scope =
      manager.user.empty() && (manager.scope == "system") == (question.manager == ManagerKind::systemd_system);
  for (const auto& name : candidates(*control, deadline)) {
    if (own_scope && name == question.unit) continue;
    const auto unit = control->state(name, deadline);
    if (!unit) return;
    if (unit->main_pid != 0 && unit->main_pid == question.own_pid) continue;
    if (auto found = judge(manager, name, *unit, environment ? *environment : std::vector<std::string>{}, question))
      duplicates.push_back(std::move(*found));
  }
}

}  // namespace

std::vector<std::string> gateway_units_in(const std::vector<std::string>& directories) {
  std::set<std::string> names;
  for (const auto& directory : directories) {
    std::error_code ec;
    for (fs::directory_iterator it(directory, ec), end; !ec && it != end; it.increment(ec)) {
      const auto name = it->path().filename().string();
      if (name.ends_with(service_suffix)) {
        if (may_run_a_gateway(it->path())) names.insert(name);
      } else if (name.ends_with(".service.d")) {
        std::error_code ignored;
        for (fs::directory_iterator file(it->path(), ignored), last; !ignored && file != last; file.increment(ignored))
          if (file->path().extension() == ".conf" && may_run_a_gateway(file->path()))
            names.insert(name.substr(0, name.size() - 2));
      }
    }
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> enabled_instances_in(const std::vector<std::string>& directories,
                                              const std::string& template_name) {
  const auto prefix = template_name.substr(0, template_name.find('@') + 1);
  std::set<std::string> names;
  for (const auto& directory : directories) {
    std::error_code ec;
    for (fs::directory_iterator it(directory, ec), end; !ec && it != end; it.increment(ec)) {
      const auto kind = it->path().extension();
      if (kind != ".wants" && kind != ".requires") continue;
      std::error_code ignored;
      for (fs::directory_iterator link(it->path(), ignored), last; !ignored && link != last; link.increment(ignored)) {
        const auto name = link->path().filename().string();
        if (name.starts_with(prefix) && name.ends_with(service_suffix) && name != template_name) names.insert(name);
      }
    }
  }
  return {names.begin(), names.end()};
}

std::vector<Duplicate> find_duplicates(const DuplicateQuestion& question, Millis patience) {
  std::vector<Duplicate> found;
  for (const auto& manager : managers()) ask(manager, question, Deadline::in(patience), found);
  for (auto& process : find_duplicate_processes(question)) {
    // Its unit has been found, or it is the unit that asks: said once.
    const bool told = std::ranges::any_of(found, [&](const Duplicate& other) { return other.pid == process.pid; });
    if (told || (!process.unit.empty() && process.unit == question.unit &&
                 (process.scope == "system") == (question.manager == ManagerKind::systemd_system) &&
                 (process.scope == "system" || process.user.empty())))
      continue;
    if (!process.unit.empty())
      process.remedy = remedy_for({process.scope, process.scope == "user" ? process.user : "", 0, {}}, process.unit);
    found.push_back(std::move(process));
  }
  return found;
}

}  // namespace talaria
