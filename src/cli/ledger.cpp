#include "cli/ledger.h"

#include "store/database.h"

namespace talaria::cli {

Result<std::vector<RunRow>> read_ledger(const ProfilePaths& paths, int limit) {
  auto db = Database::open_to_read(paths.database());
  if (!db) {
    if (db.error().kind == ErrorKind::not_found) return std::vector<RunRow>{};
    return std::unexpected(db.error());
  }
  return list_runs(**db, limit);
}

}  // namespace talaria::cli
