// `talaria config path`: where the configuration and everything else of a profile lies.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"

namespace talaria::cli {
namespace {

int print_path(const Context& context, bool json) {
  const Result<ProfilePaths> paths = context.paths();
  if (!paths) return report(paths.error());
  if (!json) {
    fmt::print("{}\n", paths->config_file);
    return 0;
  }
  const boost::json::object document{{"profile", paths->profile},
                                     {"scope", to_string(context.scope())},
                                     {"config_file", paths->config_file},
                                     {"state_directory", paths->state_directory},
                                     {"runtime_directory", paths->runtime_directory},
                                     {"database", paths->database()},
                                     {"control_socket", paths->control_socket()}};
  fmt::print("{}\n", boost::json::serialize(document));
  return 0;
}

}  // namespace

void add_config_path(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("path", "Print where the configuration file is");
  command->footer("Example:\n  $EDITOR \"$(talaria config path)\"");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print one JSON document with every directory");
  command->callback([&context, json] { context.exit_code = print_path(context, *json); });
}

}  // namespace talaria::cli
