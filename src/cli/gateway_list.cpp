// `talaria gateway list`: every profile of this user and of the system, and how each is (status_report.h).
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/status_report.h"
#include "cli/table.h"

namespace talaria::cli {
namespace fs = std::filesystem;
namespace json = boost::json;
namespace {

constexpr Millis list_patience{500};
constexpr std::size_t most_profiles = 1'000;

// Directories whose name could be a profile. One that we may not read has none for us.
void collect(const fs::path& base, const char* wanted, std::set<std::string>& names) {
  std::error_code ec;
  for (fs::directory_iterator it(base, ec), end; !ec && it != end && names.size() < most_profiles; it.increment(ec)) {
    const auto name = it->path().filename().string();
    std::error_code ignored;
    if (check_profile_name(name) && fs::exists(it->path() / wanted, ignored)) names.insert(name);
  }
}

std::set<std::string> profiles_of(Scope scope) {
  std::set<std::string> names;
  const auto paths = paths_for("default", scope);
  if (!paths) return names;  // no HOME: nothing of this user's
  collect(fs::path(paths->config_file).parent_path().parent_path(), "config.toml", names);
  collect(fs::path(paths->state_directory).parent_path(), "gateway.lock", names);
  return names;
}

json::object describe(const std::string& profile, Scope scope) {
  json::object row{{"profile", profile}, {"scope", to_string(scope)}, {"state", "stopped"}};
  for (const char* key : {"pid", "unit", "since", "version", "api", "home", "standby_for", "backoff_until"})
    row[key] = nullptr;
  const auto paths = paths_for(profile, scope);
  if (!paths) return row;
  const auto status = profile_status(*paths, scope, list_patience, false);
  for (auto& [key, value] : row)
    if (const auto* found = status.if_contains(key)) value = *found;
  return row;
}

std::string cell(const json::value& value) {
  if (value.is_null()) return "-";
  const auto text = value.is_string() ? printable(value.get_string()) : json::serialize(value);
  return text.empty() ? "-" : text;
}

int list_gateways(const Context& context, bool as_json) {
  json::array rows;
  if (std::getenv("TALARIA_HOME") != nullptr) {
    rows.push_back(describe(context.profile, context.scope()));  // one home, whatever its profile is called
  } else {
    for (const auto scope : {Scope::user, Scope::system})
      for (const auto& profile : profiles_of(scope)) rows.push_back(describe(profile, scope));
  }
  if (as_json) {
    fmt::print("{}\n", json::serialize(json::object{{"profiles", std::move(rows)}}));
    return 0;
  }
  if (rows.empty()) {
    fmt::print("No profile has a configuration yet.\n");
    return 0;
  }
  std::vector<std::vector<std::string>> table{{"PROFILE", "SCOPE", "STATE", "PID", "SINCE", "API", "UNIT"}};
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    for (const char* key : {"profile", "scope", "state", "pid", "since", "api", "unit"})
      cells.push_back(cell(row.get_object().at(key)));
    table.push_back(std::move(cells));
  }
  fmt::print("{}", format_table(table));
  return 0;
}

}  // namespace

void add_gateway_list(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("list", "List the gateways of this user and of the system");
  command->footer("Example:\n  talaria gateway list --json");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, as_json] { context.exit_code = list_gateways(context, *as_json); });
}

}  // namespace talaria::cli
