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
                      {"exit_code", nullptr},
                      {"kind", nullptr},
                      {"phases", nullptr},
                      {"invocation_id", nullptr}};
  if (run.ready_at) object["ready_at"] = format_rfc3339(*run.ready_at);
  if (run.ended_at) object["at"] = format_rfc3339(*run.ended_at);
  if (!run.invocation_id.empty()) object["invocation_id"] = run.invocation_id;
  if (run.pid == 0) object["pid"] = nullptr;  // ended before anybody knew it
  if (run.verdict.empty()) return object;
  object["verdict"] = run.verdict;
  object["cause"] = run.cause;
  if (run.exit_code >= 0) object["exit_code"] = run.exit_code;
  if (!run.kind.empty()) object["kind"] = run.kind;
  const auto parsed = [](const std::string& text) {
    boost::system::error_code ec;
    json::value value = json::parse(text, ec);
    return ec ? json::value() : value;
  };
  object["evidence"] = parsed(run.evidence);
  object["phases"] = parsed(run.phases);
  return object;
}

}  // namespace talaria
