#pragma once
// What the `config` commands share.

#include <boost/json/object.hpp>

#include "cli/command.h"
#include "config/loading.h"
#include "config/schema.h"

namespace talaria::cli {

struct LoadedConfig {
  ProfilePaths paths;
  LoadOutcome outcome;
};
// Loads the profile's configuration, right or wrong. The error is about paths alone.
[[nodiscard]] Result<LoadedConfig> load_profile_config(const Context& context);

// Prints every mistake to stderr, one per line, and returns 78.
int refuse_config(const LoadOutcome& outcome);

// Where a value comes from: "default" or "FILE:LINE".
[[nodiscard]] std::string origin_of(const LoadedConfig& loaded, const std::string& key);

// A value as JSON: numbers and booleans as they are, durations and references as strings, null where an optional one is
// not given.
[[nodiscard]] boost::json::value value_to_json(const Slot& slot);
// `origin`, and `file` and `line` where the value stands in the file.
void add_origin(boost::json::object& document, const LoadedConfig& loaded, const std::string& key);

}  // namespace talaria::cli
