#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>

#include "cli/doctor/doctor.h"
#include "cli/ledger.h"
#include "cli/status_report.h"
#include "cli/unit_access.h"
#include "service/units.h"

namespace talaria::cli::doctor {
namespace {

constexpr Millis examination_patience{2'000};
constexpr int runs_to_look_at = 100;

Runner runner_of(const Patient& patient) {
  const bool by_unit = patient.scope == Scope::system && !patient.by_environment && ::geteuid() == 0;
  if (!by_unit) {
    const passwd* self = ::getpwuid(::geteuid());
    return {self == nullptr ? std::to_string(::geteuid()) : self->pw_name, ::geteuid(), true};
  }
  std::string name(default_service_user);
  if (patient.has_unit()) name = patient.unit->user.empty() ? "root" : patient.unit->user;
  const passwd* user = ::getpwnam(name.c_str());
  return {name, user == nullptr ? 0 : user->pw_uid, user != nullptr};
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::warn: return "warn";
    case Level::fail: break;
  }
  return "fail";
}

bool Patient::alive() const {
  const auto& state = status.at("state").as_string();
  return state != "stopped" && state != "failed";
}

std::string Patient::talaria() const {
  return fmt::format("{}talaria{}{}", scope == Scope::system && ::geteuid() != 0 ? "sudo " : "",
                     scope == Scope::system ? " --system" : "",
                     paths.profile == "default" ? "" : " -p " + paths.profile);
}

std::string Patient::systemctl() const {
  if (scope == Scope::user) return "systemctl --user";
  return ::geteuid() == 0 ? "systemctl" : "sudo systemctl";
}

Result<Patient> examine(const Context& context) {
  const auto paths = context.paths();
  if (!paths) return std::unexpected(paths.error());
  Patient patient;
  patient.paths = *paths;
  patient.scope = context.scope();
  patient.by_environment = std::getenv("TALARIA_HOME") != nullptr;
  patient.now = SystemWallClock().now();
  patient.config = load_config_file(paths->config_file);
  auto manager = UnitControl::connect(manager_of(patient.scope), Deadline::in(examination_patience));
  if (manager) {
    patient.manager.emplace(std::move(*manager));
    if (auto unit = patient.manager->state(unit_name(paths->profile), Deadline::in(examination_patience)))
      patient.unit = std::move(*unit);
  } else {
    patient.manager_problem = manager.error().what;
  }
  patient.status = profile_status(*paths, patient.scope, examination_patience, true);
  if (auto runs = read_ledger(*paths, runs_to_look_at)) patient.runs = std::move(*runs);
  patient.runner = runner_of(patient);
  return patient;
}

}  // namespace talaria::cli::doctor
