// `talaria version`: what is installed, for people and for bug reports.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.h"

namespace talaria::cli {

void add_version(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("version", "Print the version");
  command->footer("Example:\n  talaria version --json");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print one JSON document");
  command->callback([&context, json] {
    if (*json) {
      const boost::json::object document{{"name", "talaria"}, {"version", TALARIA_VERSION}, {"compiler", __VERSION__}};
      fmt::print("{}\n", boost::json::serialize(document));
    } else {
      fmt::print("talaria {}\n", TALARIA_VERSION);
    }
    context.exit_code = 0;
  });
}

}  // namespace talaria::cli
