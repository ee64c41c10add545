// The unit: is it there, is it ours and of this version, does it keep its promises, and does it come up at boot?
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "cli/doctor/doctor.h"
#include "cli/unit_access.h"
#include "process/small_file.h"
#include "service/linger.h"
#include "service/units.h"

namespace talaria::cli::doctor {
namespace {

std::string install_command(const Patient& patient) { return patient.talaria() + " gateway install"; }

// Would install write the same? Judged by the program that the unit names: another one is check_program's business.
bool is_outdated(Patient& patient, const std::string& text) {
  const auto version_text = patient.manager->version(soon());
  if (!version_text || patient.unit->command.empty()) return false;
  const auto version = parse_systemd_version(*version_text);
  if (!version) return false;
  const auto current = render_unit(
      {patient.scope == Scope::system ? UnitScope::system : UnitScope::user, patient.unit->command.front(), *version});
  return current && *current != text;
}

}  // namespace

void check_unit(Patient& patient, Findings& findings) {
  if (!patient.unit || patient.by_environment) return;
  const auto& unit = *patient.unit;
  const auto name = unit_name(patient.paths.profile);
  if (unit.load_state == "not-found") return findings.ok(fmt::format("{} is not installed", name));
  if (!unit.loaded())
    return findings.fail(fmt::format("systemd calls {} \"{}\"", name, unit.load_state),
                         unit.load_state == "masked" ? fmt::format("{} unmask {}", patient.systemctl(), name)
                                                     : fmt::format("{} status {}", patient.systemctl(), name));
  const auto said = findings.all().size();
  if (const auto text = read_small_file(unit.fragment_path, largest_unit_file)) {
    if (!is_our_file(*text))
      findings.warn(fmt::format("{} was not written by install", unit.fragment_path),
                    fmt::format("move it away, then: {}", install_command(patient)));
    else if (is_outdated(patient, *text))
      findings.warn(fmt::format("{} is not what this version would write", unit.fragment_path),
                    install_command(patient));
  }
  if (unit.need_daemon_reload)
    findings.warn("unit files were changed and systemd has not read them again",
                  patient.systemctl() + " daemon-reload");
  if (unit.active_state == "failed")
    findings.fail(fmt::format("{} has failed ({}){}", name, describe_end(unit),
                              unit.has_start_limit() ? "; it has a start limit, which may have been hit" : ""),
                  patient.talaria() + " gateway start");
  else if (unit.sub_state == "auto-restart" || (unit.main_pid == 0 && unit.up() && unit.restarts > 0))
    findings.fail(
        fmt::format("{} ends as soon as it is started ({}), {} times so far", name, describe_end(unit), unit.restarts),
        patient.talaria() + " gateway logs -n 50");
  if (findings.all().size() == said) findings.ok(fmt::format("{} ({})", unit.fragment_path, unit.active_state));
}

// What drop-ins make of it. The values are the effective ones; the files that may have set them are named.
void check_promises(Patient& patient, Findings& findings) {
  if (!patient.has_unit()) return;
  const auto& unit = *patient.unit;
  const auto said = findings.all().size();
  const auto edit = unit.drop_in_paths.empty()
                        ? install_command(patient)
                        : fmt::format("take the line out of {}, then: {} daemon-reload",
                                      fmt::join(unit.drop_in_paths, " or "), patient.systemctl());
  if (unit.type != "notify" && unit.type != "notify-reload")
    findings.fail(fmt::format("Type={}: systemd does not hear when the gateway is ready", unit.type), edit);
  if (unit.restart == "no" || unit.restart == "on-success")
    findings.fail(fmt::format("Restart={}: nobody starts it again after a crash", unit.restart), edit);
  if (unit.kill_mode == "process" || unit.kill_mode == "none")
    findings.fail(fmt::format("KillMode={}: agents outlive the gateway", unit.kill_mode), edit);
  if (unit.kill_mode == "control-group")
    findings.warn("KillMode=control-group: running agents are ended at once, not drained", edit);
  if (patient.config.ok()) {
    const auto drain = patient.config.config.gateway.drain_timeout.count();
    const auto limit = static_cast<std::int64_t>(unit.timeout_stop_usec / 1000);
    if (unit.timeout_stop_usec != UINT64_MAX && limit <= drain && limit < unit_stop_seconds * 1000)
      findings.fail(fmt::format("TimeoutStopSec={}s is not above drain_timeout ({} s): a stop may end in SIGKILL",
                                limit / 1000, drain / 1000),
                    edit);
  }
  if (unit.has_start_limit())
    findings.warn(fmt::format("a start limit of {} in {} s: your own starts are counted, too, and the last is refused",
                              unit.start_limit_burst, unit.start_limit_interval_usec / 1'000'000),
                  edit);
  if (findings.all().size() == said) {
    if (unit.drop_in_paths.empty()) return findings.ok("as installed, without drop-ins");
    findings.ok(fmt::format("kept by {}", fmt::join(unit.drop_in_paths, ", ")));
  }
}

void check_boot(Patient& patient, Findings& findings) {
  if (!patient.has_unit()) return;
  const auto name = unit_name(patient.paths.profile);
  if (!patient.unit->enabled())
    return findings.warn(
        fmt::format("{} is {}: it does not start at boot", name,
                    patient.unit->unit_file_state.empty() ? "not enabled" : patient.unit->unit_file_state),
        fmt::format("{} enable {}", patient.systemctl(), name));
  if (patient.scope == Scope::user && !linger_enabled(patient.runner.name))
    return findings.warn(
        fmt::format("lingering is off for {}: the service ends with the last session", patient.runner.name),
        "sudo loginctl enable-linger " + patient.runner.name);
  findings.ok("starts at boot");
}

}  // namespace talaria::cli::doctor
