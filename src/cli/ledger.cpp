#include "cli/ledger.h"

#include <fmt/format.h>

#include <algorithm>

#include "lifecycle/run_ledger.h"
#include "process/instance_lock.h"
#include "store/database.h"
#include "store/schema.h"

namespace talaria::cli {
namespace {

Result<std::vector<RunRow>> rows(const ProfilePaths& paths, int limit) {
  auto db = Database::open_to_read(paths.database());
  if (!db) {
    if (db.error().kind == ErrorKind::not_found) return std::vector<RunRow>{};
    return std::unexpected(db.error());
  }
  const auto version = stored_schema_version(**db);
  if (!version) return std::unexpected(version.error());
  if (*version == 0) return std::vector<RunRow>{};  // its first gateway is making it now
  if (*version < schema_version)
    return fail(ErrorKind::unavailable,
                fmt::format("{} is an older program's; it is brought up to date when this one takes over (`talaria "
                            "gateway upgrade`, or a restart)",
                            paths.database()));
  return list_runs(**db, limit);
}

// The newest open run goes on when somebody owns the home.
std::optional<Incarnation> who_lives(const ProfilePaths& paths, const std::vector<RunRow>& runs) {
  const auto lock = ask_instance_lock(paths.state_directory);
  if (!lock || !lock->held || runs.empty()) return std::nullopt;
  const RunRow& newest = runs.front();
  return Incarnation{static_cast<pid_t>(newest.pid), newest.process_start, newest.boot_id};
}

}  // namespace

Result<std::vector<RunRow>> read_ledger(const ProfilePaths& paths, int limit) {
  auto runs = rows(paths, std::max(limit, runs_to_settle));
  if (!runs) return runs;
  const auto self = this_incarnation();
  // What was forgotten would look new: nothing from before the oldest run counts.
  const Settling settling{.boot_id = self ? self->boot_id : std::string(),
                          .alive = who_lives(paths, *runs),
                          .now = SystemWallClock().now(),
                          .oldest = runs->empty() ? 0 : runs->back().started_at};
  for (RunRow& run : settle(*runs, parse_testimony(read_testimony(paths.state_directory)), settling)) {
    const auto place =
        run.id != 0
            ? std::ranges::find(*runs, run.id, &RunRow::id)
            : std::ranges::find_if(*runs, [&](const RunRow& other) { return other.started_at <= run.started_at; });
    if (run.id != 0) {
      *place = std::move(run);
    } else {
      runs->insert(place, std::move(run));
    }
  }
  if (runs->size() > static_cast<std::size_t>(limit)) runs->resize(static_cast<std::size_t>(limit));
  return runs;
}

}  // namespace talaria::cli
