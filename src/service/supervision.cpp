#include "service/supervision.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

namespace talaria {
namespace {

constexpr std::string_view service_suffix = ".service";

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

Supervision decide_supervision(const SupervisionFacts& facts) {
  if (facts.parent_comm != "systemd") return {};
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

std::string_view to_string(ManagerKind kind) {
  switch (kind) {
    case ManagerKind::systemd_system: return "system";
    case ManagerKind::systemd_user: return "user";
    case ManagerKind::none: break;
  }
  return "none";
}

Supervision find_supervision() {
  SupervisionFacts facts;
  facts.pid = ::getpid();
  facts.parent_pid = ::getppid();
  facts.parent_comm = read_proc("/proc/" + std::to_string(facts.parent_pid) + "/comm");
  if (facts.parent_comm.ends_with('\n')) facts.parent_comm.pop_back();
  const char* socket = std::getenv("NOTIFY_SOCKET");
  facts.notify_socket = socket != nullptr && *socket != '\0';
  if (const char* text = std::getenv("SYSTEMD_EXEC_PID")) {
    const std::string_view number(text);
    int pid = 0;
    const auto [end, error] = std::from_chars(number.begin(), number.end(), pid);
    if (error == std::errc{} && end == number.end()) facts.systemd_exec_pid = pid;
  }
  facts.cgroup = read_proc("/proc/self/cgroup");
  return decide_supervision(facts);
}

}  // namespace talaria
