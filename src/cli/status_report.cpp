#include "cli/status_report.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/text.h"
#include "cli/control_client.h"
#include "cli/duplicate_report.h"
#include "cli/unit_access.h"
#include "cli/unit_files.h"
#include "lifecycle/run_json.h"
#include "process/identity.h"
#include "service/units.h"
#include "store/database.h"
#include "store/runs.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

json::object blank_status(const StatusFacts& facts) {
  json::object status{{"state", "stopped"},
                      {"detail", ""},
                      {"ready", false},
                      {"profile", facts.paths.profile},
                      {"scope", to_string(facts.scope)},
                      {"unit", nullptr},
                      {"pid", nullptr},
                      {"start_time", nullptr},
                      {"since", nullptr},
                      {"version", nullptr},
                      {"home", facts.paths.state_directory},
                      {"api", nullptr},
                      {"standby_for", nullptr},
                      {"owner", nullptr},
                      {"backoff_until", nullptr},
                      {"channels", json::array{}},
                      {"queues", {{"inbound", 0}, {"turns", 0}, {"outbox", 0}, {"dead", 0}}},
                      {"last_end", nullptr},
                      {"duplicates", json::array{}},
                      {"warnings", json::array{}}};
  return status;
}

// An incarnation in the keys of `owner`.
json::object owner_of(const json::object& live) {
  json::object owner;
  for (const char* key : {"pid", "unit", "scope", "state", "since", "version"}) {
    const auto* value = live.if_contains(key);
    owner[key] = value == nullptr ? json::value(nullptr) : *value;
  }
  return owner;
}

json::object owner_of(const LockRecord& record) {
  json::object owner{
      {"pid", record.incarnation.pid},         {"unit", nullptr},          {"scope", record.scope}, {"state", nullptr},
      {"since", format_rfc3339(record.since)}, {"version", record.version}};
  if (!record.unit.empty()) owner["unit"] = record.unit;
  return owner;
}

std::string words_of(const json::object& owner) {
  std::string words = fmt::format("PID {}", owner.at("pid").is_null() ? "?" : json::serialize(owner.at("pid")));
  const auto* unit = owner.at("unit").if_string();
  const auto* scope = owner.at("scope").if_string();
  if (unit != nullptr && scope != nullptr)
    words += fmt::format(", {} service {}", std::string_view(*scope), std::string_view(*unit));
  return words;
}

// Without the process's own word. READY is only said by one that runs or stands by, so "active" is one of these.
std::string state_of(const UnitState& unit) {
  const std::string_view text = unit.status_text;
  if (unit.active_state == "deactivating") return "draining";
  if (unit.active_state == "failed") return "failed";
  if (text.starts_with("standby")) return "standby";
  if (text.starts_with("backing")) return "backing-off";
  if (unit.active_state == "active" || unit.active_state == "reloading") return "running";
  return unit.up() ? "starting" : "stopped";
}

// "standby for PID 4711, user service x" → what comes after "for".
std::string standby_words(const std::string& status_text) {
  constexpr std::string_view prefix = "standby for ";
  return status_text.starts_with(prefix) ? status_text.substr(prefix.size()) : status_text;
}

// This scope's unit waits for an owner that is somebody else: what is asked about is the unit, and the owner is named.
void describe_standby(json::object& status, const UnitState& unit, const std::string& name, json::object owner) {
  status["state"] = "standby";
  status["ready"] = false;
  status["pid"] = unit.main_pid;
  status["unit"] = name;
  status["start_time"] = nullptr;
  status["since"] = nullptr;
  status["version"] = nullptr;
  if (const auto self = incarnation_of(unit.main_pid)) status["start_time"] = self->start_time;
  status["standby_for"] = words_of(owner);
  status["detail"] = "waits for " + words_of(owner);
  status["owner"] = std::move(owner);
}

void describe_by_manager(json::object& status, const UnitState& unit, const std::string& name) {
  const auto state = state_of(unit);
  status["state"] = state;
  status["unit"] = name;
  if (unit.main_pid != 0) status["pid"] = unit.main_pid;
  status["detail"] = unit.status_text;
  if (state == "failed") status["detail"] = fmt::format("the service manager's result: {}", unit.result);
  if (state == "standby") status["standby_for"] = standby_words(unit.status_text);
}

void describe_last_run(json::object& status, const json::object& run, bool nobody_lives) {
  json::object end;
  for (const char* key : {"verdict", "cause", "evidence", "exit_code", "at"}) end[key] = run.at(key);
  if (!end["verdict"].is_null()) {
    status["last_end"] = std::move(end);
  } else if (nobody_lives) {
    status["last_end"] = json::object{{"verdict", "crash"},
                                      {"cause", "it ended without a word; the next start looks for the reason"},
                                      {"evidence", nullptr},
                                      {"exit_code", nullptr},
                                      {"at", nullptr}};
  }
}

// Does the unit have a process that is not the one with this PID?
bool waits_beside(const std::optional<UnitState>& unit, std::int64_t owner) {
  return unit && unit->main_pid != 0 && owner != 0 && unit->main_pid != owner && state_of(*unit) == "standby";
}

}  // namespace

json::object compose_status(const StatusFacts& facts) {
  json::object status = blank_status(facts);
  const auto name = unit_name(facts.paths.profile);
  if (facts.live) {
    for (const auto& member : *facts.live) status[member.key()] = member.value();
    const auto* pid = facts.live->if_contains("pid");
    if (waits_beside(facts.unit, pid != nullptr && pid->is_int64() ? pid->get_int64() : 0))
      describe_standby(status, *facts.unit, name, owner_of(*facts.live));
    return status;
  }

  json::array warnings;
  const bool held = facts.lock && facts.lock->held;
  const auto* record = held && facts.lock->record ? &*facts.lock->record : nullptr;
  const bool unit_lives = facts.unit && (facts.unit->main_pid != 0 || facts.unit->active_state != "inactive");
  if (held && waits_beside(facts.unit, record == nullptr ? 0 : record->incarnation.pid)) {
    describe_standby(status, *facts.unit, name, owner_of(*record));
    warnings.push_back(json::string("the owner does not answer: " + facts.live_problem.what));
  } else if (held) {
    status["state"] = "unknown";
    status["detail"] = facts.live_problem.what;
    if (record != nullptr) status["pid"] = record->incarnation.pid;
    if (unit_lives) status["unit"] = name;
  } else if (unit_lives) {
    describe_by_manager(status, *facts.unit, name);
  }
  if (!facts.lock) {
    warnings.push_back(json::string(facts.lock.error().what));
    if (unit_lives)
      warnings.push_back("only the service manager was asked; root, or the gateway's own user, hears more");
  }
  if (facts.last_run) describe_last_run(status, *facts.last_run, !held && !(unit_lives && facts.unit->main_pid != 0));
  status["warnings"] = std::move(warnings);
  return status;
}

json::object profile_status(const ProfilePaths& paths, Scope scope, Millis patience, bool thorough) {
  StatusFacts facts;
  facts.paths = paths;
  facts.scope = scope;
  auto answer = control_call(paths, "GET", "/control/status", {}, patience);
  if (answer && answer->is_object())
    facts.live = std::move(answer->get_object());
  else if (!answer)
    facts.live_problem = {answer.error().kind, std::move(answer.error().what)};
  std::string elsewhere;
  auto control = UnitControl::connect(manager_of(scope), Deadline::in(patience));
  if (control)
    if (auto unit = control->state(unit_name(paths.profile), Deadline::in(patience)); unit && unit->loaded()) {
      // TALARIA_HOME names another home than that of the unit, unless a drop-in gives it to the unit, too.
      const char* here = std::getenv("TALARIA_HOME");
      const auto there = value_of(unit->environment, "TALARIA_HOME").value_or("");
      if (there == (here == nullptr ? "" : here))
        facts.unit = std::move(*unit);
      else if (here == nullptr && unit->up())
        elsewhere = fmt::format("the unit has TALARIA_HOME={}; ask with the same to hear of it", there);
    }
  if (!facts.live) {
    facts.lock = ask_instance_lock(paths.state_directory);
    if (auto db = Database::open_to_read(paths.database()))
      if (auto runs = list_runs(**db, 1); runs && !runs->empty()) facts.last_run = to_json(runs->front());
  }
  auto status = compose_status(facts);
  if (!elsewhere.empty()) status["warnings"].as_array().push_back(json::string(elsewhere));
  if (thorough) {
    const auto& pid = status.at("pid");
    status["duplicates"] = to_json(duplicates_of(paths, scope, pid.is_int64() ? static_cast<int>(pid.get_int64()) : 0));
  }
  return status;
}

}  // namespace talaria::cli
