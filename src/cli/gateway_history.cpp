// `talaria gateway history`: the runs of a profile and how each ended, from the ledger; no gateway need run.
#include <fmt/format.h>

#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/ledger.h"
#include "cli/table.h"
#include "lifecycle/run_json.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

int history_command(const Context& context, bool as_json, int n) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto runs = read_ledger(*paths, n);
  if (!runs) return report(runs.error());
  if (as_json) {
    json::array array;
    for (const RunRow& run : *runs) array.push_back(to_json(run));
    fmt::print("{}\n", json::serialize(json::object{{"profile", paths->profile}, {"runs", std::move(array)}}));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"STARTED", "PID", "ENDED", "VERDICT", "EXIT", "CAUSE"}};
  for (const RunRow& run : *runs) {
    rows.push_back({format_rfc3339(run.started_at), fmt::format("{}", run.pid),
                    run.ended_at ? format_rfc3339(*run.ended_at) : "-", run.verdict.empty() ? "-" : run.verdict,
                    run.verdict.empty() || run.exit_code < 0 ? "-" : fmt::format("{}", run.exit_code),
                    printable(run.cause)});
  }
  fmt::print("{}", rows.size() == 1 ? "This profile has never run.\n" : format_table(rows));
  return 0;
}

}  // namespace

void add_gateway_history(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("history", "List the runs of this profile and how each ended");
  command->footer("Newest first; also when no gateway runs.\n\nExample:\n  talaria gateway history -n 5");
  auto as_json = std::make_shared<bool>(false);
  auto n = std::make_shared<int>(20);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->add_option("-n", *n, "How many (default 20)")->check(CLI::Range(1, 100'000));
  command->callback([&context, as_json, n] { context.exit_code = history_command(context, *as_json, *n); });
}

}  // namespace talaria::cli
