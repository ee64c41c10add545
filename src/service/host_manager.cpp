#include "service/host_manager.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/text.h"
#include "process/small_file.h"
#include "service/supervision.h"

namespace talaria {
namespace {

struct Trace {
  std::string_view process;
  ManagerKind kind;
};
// Each manager's own process that watches a folder of services. A container that runs one of them is that one's.
constexpr std::array traces{Trace{"launchd", ManagerKind::launchd}, Trace{"runsvdir", ManagerKind::runit},
                            Trace{"runit", ManagerKind::runit}, Trace{"s6-svscan", ManagerKind::s6},
                            Trace{"supervisord", ManagerKind::supervisord}};

std::string comm_of(const std::string& pid) {
  auto text = read_small_file("/proc/" + pid + "/comm", 64);
  if (!text) return {};
  if (text->ends_with('\n')) text->pop_back();
  return *text;
}

}  // namespace

HostManager decide_host_manager(const HostFacts& facts) {
  for (const auto& [process, kind] : traces)
    if (facts.first_process == process) return {kind, fmt::format("PID 1 is {}", process)};
  for (const auto& [process, kind] : traces)
    if (std::ranges::find(facts.processes, process) != facts.processes.end())
      return {kind, fmt::format("{} runs", process)};
  if (facts.container_mark || is_container_init(facts.first_process))
    return {ManagerKind::container, fmt::format("PID 1 is {}", printable(facts.first_process))};
  return {ManagerKind::none,
          fmt::format("PID 1 is {}", facts.first_process.empty() ? "unknown" : printable(facts.first_process))};
}

HostManager find_host_manager() {
  HostFacts facts;
  facts.first_process = comm_of("1");
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") == std::string::npos) facts.processes.push_back(comm_of(name));
  }
  facts.container_mark = ::access("/.dockerenv", F_OK) == 0 || ::access("/run/.containerenv", F_OK) == 0;
  if (const auto environment = read_beginning("/proc/1/environ", 64 * 1024))
    facts.container_mark |=
        environment->starts_with("container=") || environment->contains(std::string("\0container=", 11));
  return decide_host_manager(facts);
}

std::string advice(const HostManager& manager) {
  switch (manager.kind) {
    case ManagerKind::runit:
    case ManagerKind::s6:
      return fmt::format(
          "there is no systemd here, but {0} ({1}): `talaria gateway install --print {0}` prints a script that makes "
          "the "
          "service directory",
          to_string(manager.kind), manager.evidence);
    case ManagerKind::supervisord:
    case ManagerKind::launchd:
      return fmt::format(
          "there is no systemd here, but {0} ({1}): `talaria gateway install --print {0}` prints the definition",
          to_string(manager.kind), manager.evidence);
    case ManagerKind::container:
      return fmt::format(
          "there is no systemd here, this is a container ({}): let `talaria gateway run` be its command; "
          "docs/managers.md "
          "has a Containerfile and manifests",
          manager.evidence);
    default: break;
  }
  return fmt::format(
      "there is no systemd here ({}): let it run `talaria gateway run`, whose exit codes are 0 planned, 75 start me "
      "again, 64, 77 and 78 don't start me again; `talaria gateway install --print KIND` prints definitions for others",
      manager.evidence);
}

}  // namespace talaria
