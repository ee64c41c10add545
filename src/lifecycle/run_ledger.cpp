#include "lifecycle/run_ledger.h"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace talaria {
namespace json = boost::json;
namespace {

std::string text_of(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::int64_t integer_of(const json::object& object, const char* name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

// The manager's view of this very run: the same PID, and seen after the run began.
const ManagerExit* find_exit(const RunRow& run, const std::vector<ManagerExit>& exits) {
  for (auto it = exits.rbegin(); it != exits.rend(); ++it) {
    if (it->pid == run.pid && it->at >= run.started_at) return &*it;
  }
  return nullptr;
}

std::string explain(const RunRow& run, const ManagerExit* seen, const std::string& boot_id) {
  if (seen != nullptr) {
    return fmt::format("ended by {} {} (the manager's result: {})", seen->code == "exited" ? "exit code" : "signal",
                       seen->status, seen->result);
  }
  if (run.boot_id != boot_id) return "power cut, or a reboot that gave no time to stop";
  return "killed (SIGKILL or a fatal signal): it ended without a word";
}

}  // namespace

std::vector<ManagerExit> parse_manager_exits(std::string_view text) {
  std::vector<ManagerExit> exits;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    boost::system::error_code ec;
    const json::value value = json::parse(text.substr(0, end), ec);
    text.remove_prefix(std::min(end + 1, text.size()));
    const json::object* object = ec ? nullptr : value.if_object();
    if (object == nullptr) continue;
    exits.push_back({integer_of(*object, "at"), text_of(*object, "service_result"), text_of(*object, "exit_code"),
                     text_of(*object, "exit_status"), integer_of(*object, "pid")});
  }
  return exits;
}

Result<int> settle_crashed_runs(Database& db, const Incarnation& self, const std::vector<ManagerExit>& exits,
                                UnixMillis now, std::int64_t except) {
  auto runs = open_runs(db, except);
  if (!runs) return std::unexpected(runs.error());
  for (const RunRow& run : *runs) {
    const ManagerExit* seen = find_exit(run, exits);
    json::object evidence{{"boot_id_changed", run.boot_id != self.boot_id}};
    if (seen != nullptr) {
      evidence["service_result"] = seen->result;
      evidence["exit_code"] = seen->code;
      evidence["exit_status"] = seen->status;
    }
    auto ended = end_run(db, run.id, "crash", explain(run, seen, self.boot_id), json::serialize(evidence), -1,
                         seen != nullptr ? seen->at : now);
    if (!ended) return std::unexpected(ended.error());
  }
  return static_cast<int>(runs->size());
}

}  // namespace talaria
