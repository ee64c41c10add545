// `talaria gateway run`: the gateway itself, in the foreground; what the unit starts.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "cli/commands.h"
#include "daemon/gateway_main.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace {

// Becomes a fresh process with the same arguments. Returns only when that fails.
int execute_again() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<char*> arguments;
  for (std::size_t at = 0; at < text.size(); at = text.find('\0', at) + 1) arguments.push_back(text.data() + at);
  arguments.push_back(nullptr);
  ::execv("/proc/self/exe", arguments.data());
  fmt::print(stderr, "talaria: the program could not be executed again; start the gateway by hand\n");
  return static_cast<int>(ExitCode::unplanned);
}

}  // namespace

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
    const GatewayExit exit = gateway_main(
        {.paths = *paths, .scope = context.scope(), .wait = *wait, .replace = *replace, .verbose = *verbose});
    context.exit_code = exit.execute_again ? execute_again() : exit.code;
  });
}

}  // namespace talaria::cli
