// `talaria config check`: every mistake at once, before a start would find it.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/config_common.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace {

void print_json(const LoadedConfig& loaded) {
  boost::json::array diagnostics;
  for (const Diagnostic& diagnostic : loaded.outcome.diagnostics) {
    diagnostics.push_back(boost::json::object{{"file", diagnostic.file},
                                              {"line", diagnostic.line},
                                              {"column", diagnostic.column},
                                              {"key", diagnostic.key},
                                              {"message", diagnostic.message}});
  }
  const boost::json::object document{
      {"file", loaded.paths.config_file}, {"ok", loaded.outcome.ok()}, {"diagnostics", std::move(diagnostics)}};
  fmt::print("{}\n", boost::json::serialize(document));
}

int check(const Context& context, bool json) {
  const Result<LoadedConfig> loaded = load_profile_config(context);
  if (!loaded) return report(loaded.error());
  if (json) {
    print_json(*loaded);
    return loaded->outcome.ok() ? 0 : static_cast<int>(ExitCode::config);
  }
  if (!loaded->outcome.ok()) return refuse_config(loaded->outcome);
  fmt::print("{}: ok\n", loaded->paths.config_file);
  return 0;
}

}  // namespace

void add_config_check(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("check", "Check the configuration and list every mistake");
  command->footer("Example:\n  talaria config check\n\nExits 78 when something is wrong.");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "Print one JSON document");
  command->callback([&context, json] { context.exit_code = check(context, *json); });
}

}  // namespace talaria::cli
