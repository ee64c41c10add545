#pragma once
// `talaria doctor`: everything that can be seen from outside and would sooner or later be in the gateway's way, with
// one line of advice for each. The table of checks is in checks.cpp; a check is one function that looks at one thing,
// changes nothing, and says what it found. Facts that several checks need are gathered once (Patient).

#include <boost/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/command.h"
#include "config/loading.h"
#include "service/unit_control.h"
#include "store/runs.h"

namespace talaria::cli::doctor {

inline constexpr UnixMillis one_hour = 3'600'000;

enum class Level { ok, warn, fail };
[[nodiscard]] std::string_view to_string(Level level);

struct Finding {
  Level level = Level::ok;
  std::string what;    // one sentence: the thing, and how it is
  std::string advice;  // a command to type, or what to edit; empty when all is well
};

// Who runs the gateway, or would.
struct Runner {
  std::string name;
  uid_t uid = 0;
  bool known = false;  // false: its account does not exist (yet)
};

// What the checks look at.
struct Patient {
  ProfilePaths paths;
  Scope scope = Scope::user;
  bool by_environment = false;  // TALARIA_HOME: no unit is meant
  LoadOutcome config;
  std::optional<UnitControl> manager;
  std::string manager_problem;    // why there is none
  std::optional<UnitState> unit;  // loaded or not; none without a manager
  boost::json::object status;     // of status_report.h
  Runner runner;
  std::vector<RunRow> runs;  // newest first
  UnixMillis now = 0;

  [[nodiscard]] bool has_unit() const { return unit && unit->loaded() && !by_environment; }
  [[nodiscard]] bool alive() const;  // some process owns the home, or the unit has one
  // "talaria --system -p work": what to begin a command with that is about this profile.
  [[nodiscard]] std::string talaria() const;
  [[nodiscard]] std::string systemctl() const;  // "systemctl --user" or "sudo systemctl"
};
[[nodiscard]] Result<Patient> examine(const Context& context);

class Findings {
 public:
  void ok(std::string what) { all_.push_back({Level::ok, std::move(what), ""}); }
  void warn(std::string what, std::string advice) { all_.push_back({Level::warn, std::move(what), std::move(advice)}); }
  void fail(std::string what, std::string advice) { all_.push_back({Level::fail, std::move(what), std::move(advice)}); }
  [[nodiscard]] const std::vector<Finding>& all() const { return all_; }

 private:
  std::vector<Finding> all_;
};

struct Check {
  const char* name;  // stable, for --json
  void (*look)(Patient& patient, Findings& findings);
};
[[nodiscard]] std::span<const Check> checks();

// check_machine.cpp
void check_manager(Patient& patient, Findings& findings);
void check_clock(Patient& patient, Findings& findings);
// check_program.cpp
void check_program(Patient& patient, Findings& findings);
// check_configuration.cpp
void check_configuration(Patient& patient, Findings& findings);
void check_secrets(Patient& patient, Findings& findings);
void check_address(Patient& patient, Findings& findings);
// check_home.cpp
void check_directories(Patient& patient, Findings& findings);
void check_space(Patient& patient, Findings& findings);
void check_owner(Patient& patient, Findings& findings);
void check_store(Patient& patient, Findings& findings);
// check_unit.cpp
void check_unit(Patient& patient, Findings& findings);
void check_promises(Patient& patient, Findings& findings);
void check_boot(Patient& patient, Findings& findings);
// check_runs.cpp
void check_duplicates(Patient& patient, Findings& findings);
void check_ends(Patient& patient, Findings& findings);
void check_work(Patient& patient, Findings& findings);

}  // namespace talaria::cli::doctor
