#include "service/supervision.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/environment.h"
#include "service/units.h"

namespace talaria {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = text.find(separator);
    if (const auto part = text.substr(0, end); !part.empty()) parts.push_back(part);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

std::string_view unescape_cgroup(std::string_view component) {
  if (component.starts_with('_')) component.remove_prefix(1);
  return component;
}

bool is_user_manager(std::string_view component) {
  if (!component.starts_with("user@") || !component.ends_with(service_suffix)) return false;
  component.remove_prefix(5);
  component.remove_suffix(service_suffix.size());
  return !component.empty() && component.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string read_proc(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

Supervision decide_systemd(const SupervisionFacts& facts) {
  // SYSTEMD_EXEC_PID tells the process that systemd started from an orphan that systemd merely adopted. Where it is set
  // it decides; where it is not (before 248), NOTIFY_SOCKET must do.
  const bool executed = facts.systemd_exec_pid ? *facts.systemd_exec_pid == facts.pid : facts.notify_socket;
  if (!executed) return {};
  const auto path = service_cgroup_path(facts.cgroup);
  Supervision found;
  found.unit = unit_of_cgroup_path(path);
  // A process of a scope or session is supervised by nobody, unless a manager waits for its notifications.
  if (found.unit.empty() && !facts.notify_socket) return {};
  const bool user = facts.parent_pid != 1 && (is_below_user_manager(path) || !path.empty());
  found.manager = user ? ManagerKind::systemd_user : ManagerKind::systemd_system;
  found.manager_pid = facts.parent_pid;
  return found;
}

// A Python program: its comm is the script's name, or the interpreter's where it was started as `python3 -m
// supervisor…`.
bool is_supervisord(const SupervisionFacts& facts) {
  return facts.parent_comm == "supervisord" ||
         (!facts.supervisor_process.empty() && facts.parent_command.contains("supervisord"));
}

}  // namespace

std::string service_cgroup_path(std::string_view cgroup_text) {
  std::string unified;
  std::string named;
  for (auto line : split(cgroup_text, '\n')) {
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    auto path = line.substr(second + 1);
    if (constexpr std::string_view gone = " (deleted)"; path.ends_with(gone)) path.remove_suffix(gone.size());
    if (controllers.empty()) unified = path;
    if (controllers == "name=systemd") named = path;
  }
  return unit_of_cgroup_path(unified).empty() && !named.empty() ? named : unified;
}

std::string unit_of_cgroup_path(std::string_view path) {
  const auto components = split(path, '/');
  for (auto it = components.rbegin(); it != components.rend(); ++it) {
    const auto name = unescape_cgroup(*it);
    if (is_user_manager(name)) return {};
    if (name.size() > service_suffix.size() && name.ends_with(service_suffix)) return std::string(name);
  }
  return {};
}

bool is_below_user_manager(std::string_view path) {
  const auto components = split(path, '/');
  for (std::size_t i = 0; i + 1 < components.size(); ++i)
    if (is_user_manager(components[i])) return true;
  return false;
}

bool is_container_init(std::string_view comm) {
  // "podman-init" is what Podman mounts catatonit as.
  constexpr std::array names{"tini", "tini-static", "docker-init", "dumb-init", "catatonit", "podman-init"};
  return std::ranges::find(names, comm) != names.end();
}

bool is_systemd_scope(std::string_view scope) { return scope == "system" || scope == "user"; }

Supervision decide_supervision(const SupervisionFacts& facts) {
  if (facts.parent_comm == "systemd") return decide_systemd(facts);
  if (facts.parent_comm == "launchd" && facts.parent_pid == 1) return {ManagerKind::launchd, 1, {}, {}};
  if (facts.parent_comm == "runsv") return {ManagerKind::runit, facts.parent_pid, facts.working_directory, {}};
  if (facts.parent_comm == "s6-supervise") return {ManagerKind::s6, facts.parent_pid, facts.working_directory, {}};
  if (is_supervisord(facts)) {
    Supervision found{ManagerKind::supervisord, facts.parent_pid, {}, facts.supervisor_server};
    if (!facts.supervisor_process.empty())
      found.unit = facts.supervisor_group.empty() ? facts.supervisor_process
                                                  : facts.supervisor_group + ":" + facts.supervisor_process;
    return found;
  }
  if (facts.pid == 1) return {ManagerKind::container, 0, {}, {}};
  // An orphan that such an init adopted looks the same. It is only told less: an init signals nobody but its own child.
  if (facts.parent_pid == 1 && is_container_init(facts.parent_comm)) return {ManagerKind::container, 1, {}, {}};
  return {};
}

std::string commands_for(std::string_view scope, std::string_view unit) {
  const auto both = [unit](std::string_view restart, std::string_view stop) {
    return fmt::format("`{} {}` starts it anew, `{} {}` ends it", restart, unit, stop, unit);
  };
  if (scope == "runit") return both("sv restart", "sv stop");
  if (scope == "s6") return both("s6-svc -r", "s6-svc -d");
  if (scope == "supervisord") return both("supervisorctl restart", "supervisorctl stop");
  if (scope == "launchd") return "`launchctl bootout` ends it";
  if (scope == "container") return "stop its container first";
  return fmt::format("stop it with {} first", scope);
}

std::string_view to_string(ManagerKind kind) {
  switch (kind) {
    case ManagerKind::systemd_system: return "system";
    case ManagerKind::systemd_user: return "user";
    case ManagerKind::container: return "container";
    case ManagerKind::runit: return "runit";
    case ManagerKind::s6: return "s6";
    case ManagerKind::supervisord: return "supervisord";
    case ManagerKind::launchd: return "launchd";
    case ManagerKind::none: break;
  }
  return "none";
}

Supervision find_supervision() {
  SupervisionFacts facts;
  facts.pid = ::getpid();
  facts.parent_pid = ::getppid();
  const std::string parent = "/proc/" + std::to_string(facts.parent_pid);
  facts.parent_comm = read_proc(parent + "/comm");
  if (facts.parent_comm.ends_with('\n')) facts.parent_comm.pop_back();
  facts.parent_command = read_proc(parent + "/cmdline");
  std::ranges::replace(facts.parent_command, '\0', ' ');
  facts.notify_socket = !environment_variable("NOTIFY_SOCKET").empty();
  if (const char* text = std::getenv("SYSTEMD_EXEC_PID")) {
    const std::string_view number(text);
    int pid = 0;
    const auto [end, error] = std::from_chars(number.begin(), number.end(), pid);
    if (error == std::errc{} && end == number.end()) facts.systemd_exec_pid = pid;
  }
  facts.cgroup = read_proc("/proc/self/cgroup");
  std::error_code ignored;
  facts.working_directory = std::filesystem::current_path(ignored).string();
  facts.supervisor_group = environment_variable("SUPERVISOR_GROUP_NAME");
  facts.supervisor_process = environment_variable("SUPERVISOR_PROCESS_NAME");
  facts.supervisor_server = environment_variable("SUPERVISOR_SERVER_URL");
  return decide_supervision(facts);
}

}  // namespace talaria
