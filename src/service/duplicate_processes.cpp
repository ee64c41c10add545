// Gateways among the processes. A gateway is not dumpable (it has secrets in memory), so of one that runs as another
// user, or even as our own, /proc shows the command line and the control group and nothing more: where its home is can
// only be told from its unit, or when root asks.
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "base/text.h"
#include "process/identity.h"
#include "process/small_file.h"
#include "service/duplicates.h"
#include "service/gateway_command.h"
#include "service/supervision.h"

namespace talaria {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t longest_command = 8 * 1024;
constexpr std::size_t longest_environment = 128 * 1024;

std::vector<std::string> split_zero(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const auto end = std::min(text.find('\0'), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::string read_proc(int pid, const char* name, std::size_t most = longest_command) {
  return read_beginning(fmt::format("/proc/{}/{}", pid, name), most).value_or("");
}

// A process of a PID namespace below ours has its own file system, most likely: its profile is another one.
bool is_in_a_container(int pid) {
  const auto status = read_proc(pid, "status");
  const auto at = status.find("\nNSpid:");
  if (at == std::string::npos) return false;
  const auto line = std::string_view(status).substr(at + 7, status.find('\n', at + 7) - at - 7);
  return line.find('\t') != line.rfind('\t');
}

std::string name_of_user(int uid) {
  const passwd* entry = uid < 0 ? nullptr : ::getpwuid(static_cast<uid_t>(uid));
  return entry == nullptr ? std::to_string(uid) : entry->pw_name;
}

GatewaySurroundings surroundings_of(const std::vector<std::string>& environment) {
  return {.variable = [&environment](std::string_view name) -> std::optional<std::string> {
            for (const auto& entry : environment)
              if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
                return entry.substr(name.size() + 1);
            return {};
          },
          .system_scope_by_default = false};
}

std::optional<Duplicate> judge(int pid, const DuplicateQuestion& question) {
  const auto words = split_zero(read_proc(pid, "cmdline"));
  const auto command = gateway_command(words, true);
  if (!command || is_in_a_container(pid)) return {};
  const auto environment = split_zero(read_proc(pid, "environ", longest_environment));  // empty: not for us to see
  const auto place = place_of(*command, surroundings_of(environment));
  const auto facts = facts_of(pid);
  if (!facts || facts->state == 'Z') return {};
  if (facts->parent == question.own_pid && question.own_pid != 0) return {};  // a child of its own, not executed yet
  const auto cgroup = service_cgroup_path(read_proc(pid, "cgroup"));

  Duplicate found;
  found.kind = "process";
  found.scope = "none";
  found.pid = pid;
  found.state = "running";
  found.replaces = command->replace;
  found.unit = unit_of_cgroup_path(cgroup);
  if (!found.unit.empty()) found.scope = is_below_user_manager(cgroup) ? "user" : "system";
  if (static_cast<uid_t>(facts->uid) != ::geteuid()) found.user = name_of_user(facts->uid);
  if (!environment.empty()) {
    found.home = place.state_directory;
    found.same_home = same_directory(found.home, question.state_directory);
  }
  const bool same_profile = place.profile == question.profile && !question.explicit_home;
  // One whose TALARIA_HOME we see elsewhere is another gateway, whatever its profile is called.
  const bool elsewhere = surroundings_of(environment).variable("TALARIA_HOME").has_value();
  if (!found.same_home && (!same_profile || elsewhere)) return {};
  // One home has one owner: the asker's, if that has a process.
  if (found.same_home && question.own_pid != 0) found.state = "standby";
  const auto who = fmt::format("PID {}{}", pid, found.user.empty() ? "" : " of user " + found.user);
  const auto* does = !found.same_home           ? "runs a profile of this name too"
                     : found.state == "standby" ? "waits for this state directory"
                                                : "runs on this state directory too";
  found.text = fmt::format("{} {}: {}", who, does, truncate_utf8(facts->command_line, 120));
  found.remedy = fmt::format("kill {}", pid);
  return found;
}

}  // namespace

std::vector<Duplicate> find_duplicate_processes(const DuplicateQuestion& question) {
  std::vector<Duplicate> found;
  std::error_code ec;
  for (fs::directory_iterator it("/proc", ec), end; !ec && it != end; it.increment(ec)) {
    const auto name = it->path().filename().string();
    int pid = 0;
    const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc{} || rest != name.data() + name.size()) continue;
    if (pid == question.own_pid || pid == ::getpid()) continue;
    if (auto duplicate = judge(pid, question)) found.push_back(std::move(*duplicate));
  }
  return found;
}

}  // namespace talaria
