#pragma once
// The run ledger at the start of a run: names how the runs before it ended, where they could not say so themselves.
// What the manager saw (ExecStopPost=, <state>/exits.jsonl) is evidence, and so is a boot id that changed.

#include <string>
#include <vector>

#include "process/identity.h"
#include "store/runs.h"

namespace talaria {

// One line that `gateway record-exit` wrote.
struct ManagerExit {
  std::int64_t at = 0;   // Unix milliseconds
  std::string result;    // $SERVICE_RESULT
  std::string code;      // $EXIT_CODE: exited, killed, dumped
  std::string status;    // $EXIT_STATUS: a number or a signal's name
  std::int64_t pid = 0;  // 0: unknown
};
// Lines that are not ours are skipped: the file informs, it decides nothing.
[[nodiscard]] std::vector<ManagerExit> parse_manager_exits(std::string_view text);

// Ends every run without an end but `except`, which was begun for us, as a crash, explained as well as the evidence
// allows.
[[nodiscard]] Result<int> settle_crashed_runs(Database& db, const Incarnation& self,
                                              const std::vector<ManagerExit>& exits, UnixMillis now,
                                              std::int64_t except = 0);

}  // namespace talaria
