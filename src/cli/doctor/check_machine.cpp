// What the gateway stands on: a service manager, and a clock.
#include <fmt/format.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/doctor/doctor.h"
#include "cli/unit_access.h"
#include "process/small_file.h"
#include "service/units.h"

namespace talaria::cli::doctor {
namespace {

// 2025-01-01: this program did not exist before.
constexpr UnixMillis earliest = 1'735'689'600'000;

std::string first_process() {
  auto name = read_beginning("/proc/1/comm", 64).value_or("unknown");
  if (name.ends_with('\n')) name.pop_back();
  return printable(name);
}

bool in_a_container() {
  return ::access("/.dockerenv", F_OK) == 0 || ::access("/run/.containerenv", F_OK) == 0 ||
         ::access("/run/systemd/container", F_OK) == 0;
}

}  // namespace

void check_manager(Patient& patient, Findings& findings) {
  const std::string where = in_a_container() ? ", in a container" : "";
  if (!systemd_is_there()) {
    findings.ok(fmt::format("no systemd here (PID 1 is {}{}): whatever runs `talaria gateway run` obeys its exit codes",
                            first_process(), where));
    return;
  }
  if (!patient.manager) {
    if (patient.by_environment) return findings.ok("TALARIA_HOME is set: no service manager is concerned");
    return findings.fail(
        fmt::format("the {} service manager can't be asked: {}", to_string(patient.scope), patient.manager_problem),
        patient.scope == Scope::user ? "log in as this user rather than with su, or: sudo loginctl "
                                       "enable-linger $(id -un)"
                                     : "systemctl is-system-running");
  }
  const auto text = patient.manager->version(soon());
  const auto version = text ? parse_systemd_version(*text) : Result<int>(std::unexpected(text.error()));
  if (!version) return findings.fail(version.error().what, "systemctl --version");
  if (*version < oldest_systemd)
    return findings.fail(fmt::format("systemd {} is too old for the service, which needs {}", *version, oldest_systemd),
                         "let another supervisor run `talaria gateway run`");
  findings.ok(fmt::format("systemd {}, {} manager{}", *version, to_string(patient.scope), where));
}

void check_clock(Patient& patient, Findings& findings) {
  if (patient.now < earliest)
    return findings.fail(fmt::format("the clock says {}", format_rfc3339(patient.now)),
                         "sudo timedatectl set-ntp true");
  for (const auto& run : patient.runs)
    if (run.started_at > patient.now + one_hour)
      return findings.fail(fmt::format("a run of this profile began at {}, and the clock says {}",
                                       format_rfc3339(run.started_at), format_rfc3339(patient.now)),
                           "sudo timedatectl set-ntp true");
  findings.ok(format_rfc3339(patient.now));
}

}  // namespace talaria::cli::doctor
