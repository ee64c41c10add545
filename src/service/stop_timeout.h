#pragma once
// How long the manager waits for a service to stop before it kills it.

#include <optional>

#include "service/manager.h"

namespace talaria {

// TimeoutStopSec= of the unit as it holds now, drop-ins included (systemd.service(5)); none: infinity. On the event
// loop, bounded by the deadline, as ask_unit() is.
Task<Result<std::optional<Millis>>> ask_stop_timeout(ManagerKind manager, std::string unit, Deadline deadline);

}  // namespace talaria
