#pragma once
// How a profile is, put together from whoever knows: the live process at its control socket, believed over every file;
// the service manager, for this scope's unit; the lock; the run ledger; and a look around for duplicates.

#include <boost/json.hpp>

#include "base/time.h"
#include "config/paths.h"
#include "process/instance_lock.h"
#include "service/unit_control.h"

namespace talaria::cli {

// What was found out about one profile in one scope.
struct StatusFacts {
  ProfilePaths paths;
  Scope scope = Scope::user;
  std::optional<boost::json::object> live;  // the owner's own account
  Error live_problem;                       // why there is none
  std::optional<UnitState> unit;  // the manager's account of this scope's unit; none: no manager, or no answer
  Result<LockQuestion> lock = LockQuestion{};
  std::optional<boost::json::object> last_run;  // newest of the ledger, when nobody is alive to tell
};

// A status document in which every key of interface.md is present. A pure function of the facts.
[[nodiscard]] boost::json::object compose_status(const StatusFacts& facts);

// Asks around, bounded by about `patience` for each that is asked. `thorough`: duplicates, too.
[[nodiscard]] boost::json::object profile_status(const ProfilePaths& paths, Scope scope, Millis patience,
                                                 bool thorough);

}  // namespace talaria::cli
