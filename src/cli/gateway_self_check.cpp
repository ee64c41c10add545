// `talaria gateway self-check`, hidden: what a running gateway asks a program before it makes room for it
// (lifecycle/self_check.h). Looks, and changes nothing.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "base/version.h"
#include "cli/commands.h"
#include "config/loading.h"
#include "daemon/wiring.h"
#include "lifecycle/exit_code.h"
#include "lifecycle/handover.h"
#include "lifecycle/self_check.h"
#include "store/database.h"
#include "store/schema.h"

namespace talaria::cli {
namespace {

SelfCheck bad(std::string why, std::string reason) {
  return {.version = std::string(program_version()), .ok = false, .why = std::move(why), .reason = std::move(reason)};
}

Result<> check_store(const std::string& path) {
  auto db = Database::open_to_read(path);
  if (!db) return db.error().kind == ErrorKind::not_found ? Result<>{} : std::unexpected(db.error());
  return check_schema(**db);
}

SelfCheck check(const ProfilePaths& paths, int format) {
  if (format != handover_format) {
    return bad("handover", fmt::format("version {} takes over with format {}, the running gateway hands over with {}; "
                                       "`talaria gateway restart` changes programs without a handover",
                                       program_version(), handover_format, format));
  }
  LoadOutcome loaded = load_config_file(paths.config_file);
  if (loaded.ok()) (void)resolve_secrets(loaded, paths.config_file);
  if (!loaded.ok()) {
    std::string reason = to_string(loaded.diagnostics.front());
    if (loaded.diagnostics.size() > 1) reason += fmt::format(" (and {} more)", loaded.diagnostics.size() - 1);
    return bad("config", std::move(reason));
  }
  if (const auto store = check_store(paths.database()); !store) return bad("store", store.error().what);
  return {.version = std::string(program_version()), .ok = true, .why = {}, .reason = {}};
}

}  // namespace

void add_gateway_self_check(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("self-check", "For `gateway upgrade`: could this program go on here?");
  command->group("");  // not in the help: the running gateway calls it
  auto format = std::make_shared<int>(0);
  command->add_option("--handover", *format, "Format of the handover")->required();
  command->callback([&context, format] {
    const auto paths = context.paths();
    const SelfCheck result = paths ? check(*paths, *format) : bad("internal", paths.error().what);
    fmt::print("{}", format_self_check(result));
    context.exit_code = static_cast<int>(result.ok ? ExitCode::planned : ExitCode::unplanned);
  });
}

}  // namespace talaria::cli
