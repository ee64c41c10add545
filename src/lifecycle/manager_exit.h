#pragma once
// What <state>/exits.jsonl tells: one line for each end that the service manager saw (`gateway record-exit`,
// service/exit_record.h), and one for each run that ended before its store was open, by its own hand.

#include <string>
#include <string_view>
#include <vector>

#include "lifecycle/cause_kind.h"
#include "lifecycle/verdict.h"
#include "store/runs.h"

namespace talaria {

// One line that `gateway record-exit` wrote.
struct ManagerExit {
  std::int64_t at = 0;         // Unix milliseconds
  std::string result;          // $SERVICE_RESULT
  std::string code;            // $EXIT_CODE: exited, killed, dumped
  std::string status;          // $EXIT_STATUS: a number or a signal's name
  std::int64_t pid = 0;        // 0: unknown
  std::string invocation_id;   // $INVOCATION_ID; empty: a manager that has none
  std::int64_t oom_kills = 0;  // of the unit's cgroup (memory.events), as far as known
};

struct ExitLog {
  std::vector<ManagerExit> seen;  // oldest first
  std::vector<RunRow> told;       // by runs without a store
};
// Lines that are not ours are passed over: the file informs, it decides nothing.
[[nodiscard]] ExitLog parse_exit_log(std::string_view text);

// The line for a run without a store, with its newline. A run with an id stands in the ledger already, begun and no
// more.
[[nodiscard]] std::string format_told_end(const RunRow& run);

// The manager's view in our words. `was_ready`: a time-out was that of the stop, not of the start.
struct Explanation {
  VerdictKind verdict = VerdictKind::crash;
  CauseKind kind = CauseKind::unknown;
  std::string cause;
  int exit_code = -1;
};
[[nodiscard]] Explanation explain(const ManagerExit& seen, bool was_ready);

}  // namespace talaria
