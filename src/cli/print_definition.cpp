#include "cli/print_definition.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "base/environment.h"
#include "cli/commands.h"
#include "service/definition.h"
#include "service/units.h"

namespace talaria::cli {
namespace {

constexpr std::string_view systemd_prefix = "systemd-";

Result<std::string> render_systemd(std::string_view scope, const std::string& binary) {
  return render_unit({scope == "system" ? UnitScope::system : UnitScope::user, binary, oldest_systemd});
}

Result<std::string> render(const Context& context, const std::string& kind, const std::string& run_as_user) {
  std::error_code ec;
  const auto binary = std::filesystem::read_symlink("/proc/self/exe", ec).string();
  if (ec) return fail_errno(ec.value(), "find this program");
  if (kind.starts_with(systemd_prefix))
    return render_systemd(std::string_view(kind).substr(systemd_prefix.size()), binary);
  auto paths = paths_for(context.profile, context.scope());
  if (!paths) return std::unexpected(paths.error());
  DefinitionSpec spec;
  spec.binary = binary;
  spec.profile = paths->profile;
  spec.home = environment_variable("TALARIA_HOME");
  spec.system = context.system_scope || (::geteuid() == 0 && spec.home.empty() && context.scope() == Scope::system);
  spec.user = run_as_user;
  if (spec.user.empty() && spec.system && spec.home.empty()) spec.user = default_service_user;
  const auto home = environment_variable("HOME");
  spec.log_folder = (spec.system || !home.starts_with('/') ? "" : home) + "/Library/Logs";
  const auto parsed = parse_definition_kind(kind);
  if (!parsed) return fail(ErrorKind::invalid, fmt::format("there is no definition \"{}\"", kind));
  return render_definition(*parsed, spec);
}

}  // namespace

std::vector<std::string> printable_definitions() {
  std::vector<std::string> names{"systemd-system", "systemd-user"};
  names.insert(names.end(), definition_names.begin(), definition_names.end());
  return names;
}

int print_definition(const Context& context, const std::string& kind, const std::string& run_as_user) {
  const auto text = render(context, kind, run_as_user);
  if (!text) return report(text.error());
  fmt::print("{}", *text);
  return 0;
}

}  // namespace talaria::cli
