#pragma once
// The unit's ExecStopPost=: `gateway record-exit`, in a shell that after a SIGKILL does its work itself.
//
// The next start waits for it, and after a kill -9 somebody waits for that: the program's libraries take longer to load
// than everything else between a kill and the next run's first instruction. The shell writes the same line
// (service/exit_record.h) and leaves to the program whatever is not that plain: another end, no file yet, another home,
// an out-of-memory kill. A start keeps the file short.
//
// For the same reason it has none of the unit's sandbox ("+"), which takes as long again. It has no privileges either:
// before anything of ours is looked at or executed, it becomes the unit's user.

#include <string>

#include "service/units.h"

namespace talaria {

// What stands before that command in the value of ExecStopPost=, with a blank at its end.
[[nodiscard]] std::string exit_recorder(UnitScope scope);

}  // namespace talaria
