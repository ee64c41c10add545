#include "lifecycle/run_json.h"

namespace talaria {
namespace json = boost::json;

json::object to_json(const RunRow& run) {
  json::object object{{"pid", run.pid},
                      {"scope", run.scope},
                      {"unit", run.unit},
                      {"version", run.version},
                      {"started_at", format_rfc3339(run.started_at)},
                      {"ready_at", nullptr},
                      {"at", nullptr},
                      {"verdict", nullptr},
                      {"cause", nullptr},
                      {"evidence", nullptr},
                      {"exit_code", nullptr}};
  if (run.ready_at) object["ready_at"] = format_rfc3339(*run.ready_at);
  if (run.ended_at) object["at"] = format_rfc3339(*run.ended_at);
  if (run.verdict.empty()) return object;
  object["verdict"] = run.verdict;
  object["cause"] = run.cause;
  if (run.exit_code >= 0) object["exit_code"] = run.exit_code;
  boost::system::error_code ec;
  json::value evidence = json::parse(run.evidence, ec);
  if (!ec) object["evidence"] = std::move(evidence);
  return object;
}

}  // namespace talaria
