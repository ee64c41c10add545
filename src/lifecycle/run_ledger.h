#pragma once
// The run ledger: how every run ended, found from all who have something to say about it. A run that ends in order
// says so itself. For one that could not there is the service manager's view (ExecStopPost=, <state>/exits.jsonl), the
// crash record (<state>/crash.log), and the boot id, which changes when the machine went away below it. What belongs to
// no run of the ledger was one that ended before its store was open: it becomes a run of its own.
//
// settle() is a pure function of that testimony, so that every row of its table can be tested; asking it twice changes
// nothing.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lifecycle/crash_record.h"
#include "lifecycle/manager_exit.h"
#include "process/identity.h"
#include "store/runs.h"

namespace talaria {

struct Testimony {
  ExitLog exits;
  std::vector<CrashRecord> crashes;
};
// The text of the files; what is missing or can't be read has nothing to say.
struct TestimonyText {
  std::string exits;
  std::string crashes;
};
[[nodiscard]] TestimonyText read_testimony(const std::string& state_directory);
[[nodiscard]] Testimony parse_testimony(const TestimonyText& text);

// How many of the newest runs are to be looked at: more than exits.jsonl has lines.
inline constexpr int runs_to_settle = 600;

struct Settling {
  std::string boot_id;               // the present one
  std::optional<Incarnation> alive;  // a run that goes on
  UnixMillis now = 0;
  UnixMillis oldest = 0;  // testimony from before this belongs to runs that were forgotten
};
// The runs that change, with their new words, and runs that are new (id 0). `runs`: newest first, as list_runs() gives
// them.
[[nodiscard]] std::vector<RunRow> settle(const std::vector<RunRow>& runs, const Testimony& testimony,
                                         const Settling& settling);

// The same in the store, at the start of a run. How many ends were no planned ones is in `crashed`.
struct Settled {
  int changed = 0;
  int crashed = 0;
};
[[nodiscard]] Result<Settled> settle_runs(Database& db, const Testimony& testimony, const Settling& settling);
// Keeps in mind how much of the text is settled. Where all that came since is the manager's word on the last run, or
// nothing, only that run is looked at: a start must not take longer the longer the history is.
[[nodiscard]] Result<Settled> settle_runs(Database& db, const TestimonyText& text, const Settling& settling);

}  // namespace talaria
