// `talaria gateway history`: the runs of a profile and how each ended, from the ledger; no gateway need run.
#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "cli/history_view.h"
#include "cli/ledger.h"
#include "lifecycle/run_json.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

struct Asked {
  bool as_json = false;
  int n = 20;
  std::string since;
};

int history_command(const Context& context, const Asked& asked) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto runs = read_ledger(*paths, asked.n);
  if (!runs) return report(runs.error());
  const UnixMillis now = SystemWallClock().now();
  if (!asked.since.empty()) {
    const auto age = parse_duration(asked.since);
    if (!age) return report(age.error());
    std::erase_if(*runs,
                  [oldest = now - age->count()](const RunRow& run) { return run.ended_at && *run.ended_at < oldest; });
  }
  if (asked.as_json) {
    json::array array;
    for (const RunRow& run : *runs) array.push_back(to_json(run));
    fmt::print("{}\n", json::serialize(json::object{{"profile", paths->profile}, {"runs", std::move(array)}}));
  } else if (runs->empty()) {
    fmt::print("{}\n",
               asked.since.empty() ? "This profile has never run." : "No run of this profile ended in that time.");
  } else {
    fmt::print("{}", history_text(*runs, runs->front().verdict.empty(), now, colour()));
  }
  return 0;
}

}  // namespace

void add_gateway_history(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("history", "List the runs of this profile and how each ended");
  command->footer(
      "Newest first; also when no gateway runs.\n\nExamples:\n  talaria gateway history -n 5\n"
      "  talaria gateway history --since 24h --json");
  auto asked = std::make_shared<Asked>();
  command->add_flag("--json", asked->as_json, "Print one JSON document, with all the evidence");
  command->add_option("-n", asked->n, "How many (default 20)")->check(CLI::Range(1, 100'000));
  command->add_option("--since", asked->since, "Only runs that ended within this time: 30m, 24h, 7d");
  command->callback([&context, asked] { context.exit_code = history_command(context, *asked); });
}

}  // namespace talaria::cli
