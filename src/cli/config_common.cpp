#include "cli/config_common.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <cstdio>

#include "base/say.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace {

boost::json::value strings(const std::vector<std::string>& items) {
  boost::json::array out;
  for (const std::string& item : items) out.emplace_back(item);
  return out;
}

struct ToJson {
  const Slot& slot;
  boost::json::value operator()(const bool* value) const { return *value; }
  boost::json::value operator()(const int* value) const { return *value; }
  boost::json::value operator()(const std::int64_t* value) const { return *value; }
  boost::json::value operator()(const double* value) const { return *value; }
  boost::json::value operator()(const std::vector<std::string>* value) const { return strings(*value); }
  boost::json::value operator()(const std::vector<SecretRef>* value) const {
    std::vector<std::string> references;
    for (const SecretRef& ref : *value) references.push_back(to_string(ref));
    return strings(references);
  }
  boost::json::value operator()(const std::optional<Millis>* value) const { return optional(value->has_value()); }
  boost::json::value operator()(const std::optional<SecretRef>* value) const { return optional(value->has_value()); }
  boost::json::value operator()(const auto*) const { return text(); }

 private:
  boost::json::value text() const { return boost::json::value(render_plain(slot)); }
  boost::json::value optional(bool given) const { return given ? text() : boost::json::value(nullptr); }
};

}  // namespace

Result<LoadedConfig> load_profile_config(const Context& context) {
  Result<ProfilePaths> paths = context.paths();
  if (!paths) return std::unexpected(paths.error());
  LoadOutcome outcome = load_config_file(paths->config_file);
  return LoadedConfig{std::move(*paths), std::move(outcome)};
}

int refuse_config(const LoadOutcome& outcome) {
  for (const Diagnostic& diagnostic : outcome.diagnostics) say("{}\n", to_string(diagnostic));
  return static_cast<int>(ExitCode::config);
}

std::string origin_of(const LoadedConfig& loaded, const std::string& key) {
  const auto line = loaded.outcome.lines.find(key);
  if (line == loaded.outcome.lines.end()) return "default";
  return fmt::format("{}:{}", loaded.paths.config_file, line->second);
}

boost::json::value value_to_json(const Slot& slot) { return std::visit(ToJson{slot}, slot); }

void add_origin(boost::json::object& document, const LoadedConfig& loaded, const std::string& key) {
  const auto line = loaded.outcome.lines.find(key);
  if (line == loaded.outcome.lines.end()) {
    document["origin"] = "default";
    return;
  }
  document["origin"] = "file";
  document["file"] = loaded.paths.config_file;
  document["line"] = line->second;
}

}  // namespace talaria::cli
