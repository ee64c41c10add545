#pragma once
// The run ledger: one row for each incarnation, and how it ended. A row without an end whose process is gone was a
// crash.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/database.h"

namespace talaria {

struct RunRow {
  std::int64_t id = 0;
  std::int64_t pid = 0;
  std::uint64_t process_start = 0;
  std::string boot_id;
  std::string scope, unit, version;
  UnixMillis started_at = 0;
  std::optional<UnixMillis> ready_at, ended_at;
  std::string verdict;  // empty: runs
  std::string cause;
  std::string evidence;  // JSON object, may be empty
  int exit_code = 0;
  std::string kind;    // what ended it, as one word; may be empty
  std::string phases;  // JSON object of milliseconds, may be empty
  std::string invocation_id;
  std::optional<UnixMillis> manager_at;  // when the manager's view of the end was written, once it is part of this row
};

// How a run ended. A row's own words, in its fields of these names.
struct RunEnd {
  std::string verdict, kind, cause, evidence, phases;
  int exit_code = 0;  // below 0: there was none
  UnixMillis at = 0;
};

[[nodiscard]] Result<std::int64_t> begin_run(Database& db, const RunRow& run);
// Goes on with a run that the program before us began in our name. False: there is none such, or it has ended.
[[nodiscard]] Result<bool> adopt_run(Database& db, const RunRow& run);
[[nodiscard]] Result<> run_ready(Database& db, std::int64_t id, UnixMillis now);
// The first recorded end is kept.
[[nodiscard]] Result<> end_run(Database& db, std::int64_t id, const RunEnd& end);
// An end that is understood better now: everything that end_run() sets, and manager_at, from `run`.
[[nodiscard]] Result<> amend_run(Database& db, const RunRow& run);
// A run that never came to the store, told by others. Returns its id.
[[nodiscard]] Result<std::int64_t> add_ended_run(Database& db, const RunRow& run);
// Runs without an end, other than `except`.
[[nodiscard]] Result<std::vector<RunRow>> open_runs(Database& db, std::int64_t except);
// Newest first.
[[nodiscard]] Result<std::vector<RunRow>> list_runs(Database& db, int limit);

}  // namespace talaria
