// `talaria gateway status`: how the gateway is, for people, as JSON, and as an exit code. Who is asked, and who is
// believed, is in status_report.h.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/status_report.h"
#include "cli/status_text.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

constexpr Millis status_patience{2'000};

int exit_code_of(const json::object& status) {
  const auto& state = status.at("state").as_string();
  if (state == "failed") return 1;
  if (state == "stopped") return 3;
  if (state == "unknown") return 4;
  return 0;
}

int status_command(const Context& context, bool as_json) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  const auto status = profile_status(*paths, context.scope(), status_patience, true);
  if (as_json) {
    fmt::print("{}\n", json::serialize(status));
  } else {
    fmt::print("{}", status_text(status, SystemWallClock().now(), colour()));
  }
  return exit_code_of(status);
}

}  // namespace

void add_gateway_status(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("status", "Say how the gateway is");
  command->footer(
      "Exit codes: 0 running, starting, draining, backing off or standby, 1 failed, 3 stopped, 4 unknown.\n\nExample:\n"
      "  talaria gateway status --json");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, as_json] { context.exit_code = status_command(context, *as_json); });
}

}  // namespace talaria::cli
