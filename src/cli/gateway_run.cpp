// `talaria gateway run`: the gateway itself, in the foreground; what the unit starts.

#include <memory>

#include "cli/commands.h"
#include "daemon/gateway_main.h"

namespace talaria::cli {
void add_gateway_run(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("run", "Run the gateway in the foreground");
  command->footer(
      "Ends with Ctrl-C or `talaria gateway stop`. Exit codes: 0 planned end, 1 unplanned, 73 another one runs this\n"
      "profile, 75 start me again, 78 the configuration is wrong.\n\nExamples:\n  talaria -p demo gateway run\n"
      "  talaria -p demo gateway run --replace");
  auto wait = std::make_shared<bool>(false);
  auto replace = std::make_shared<bool>(false);
  auto verbose = std::make_shared<bool>(false);
  command->add_flag("--wait", *wait, "When another incarnation runs this profile, wait for its end and take over");
  command->add_flag("--replace", *replace,
                    "When another incarnation runs this profile, take its place. One that a service manager runs is "
                    "not replaced; and started by a service manager, this waits like --wait");
  command->add_flag("--verbose", *verbose, "Log more");
  command->callback([&context, wait, replace, verbose] {
    auto paths = context.paths();
    if (!paths) {
      context.exit_code = report(paths.error());
      return;
    }
    GatewayExit exit = gateway_main(
        {.paths = *paths, .scope = context.scope(), .wait = *wait, .replace = *replace, .verbose = *verbose});
    context.exit_code = exit.departure ? depart(std::move(*exit.departure)) : exit.code;
  });
}

}  // namespace talaria::cli
