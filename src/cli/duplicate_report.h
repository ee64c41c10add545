#pragma once
// Duplicates (service/duplicates.h) as the commands ask for them and tell them.

#include <boost/json.hpp>

#include "config/paths.h"
#include "service/duplicates.h"

namespace talaria::cli {

// Of this profile; `own_pid` is its process (0: does not run). Takes a second at most where a manager hangs.
[[nodiscard]] std::vector<Duplicate> duplicates_of(const ProfilePaths& paths, Scope scope, int own_pid);
[[nodiscard]] boost::json::array to_json(const std::vector<Duplicate>& duplicates);
// "talaria: warning: …" on stderr, one for each, with the command that ends it.
void warn_of(const std::vector<Duplicate>& duplicates);

}  // namespace talaria::cli
