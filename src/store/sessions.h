#pragma once
// Sessions as the operator sees them.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/database.h"
#include "store/journal.h"

namespace talaria {

struct SessionRow {
  std::int64_t id = 0;
  std::string key, agent;
  UnixMillis created_at = 0, last_at = 0;
  std::int64_t turns = 0;  // since the last reset
};

// Most recently used first.
[[nodiscard]] Result<std::vector<SessionRow>> list_sessions(Database& db, int limit);
struct SessionTurn {
  std::int64_t id = 0;
  std::string state, prompt, answer;
  UnixMillis queued_at = 0;
};
// not_found: no such key. Oldest first, the last `limit`.
[[nodiscard]] Result<std::vector<SessionTurn>> session_turns(Database& db, const std::string& key, int limit);
// Forgets the transcript: later turns start afresh. The rows stay until retention takes them.
[[nodiscard]] Result<> reset_session(Database& db, const std::string& key);

}  // namespace talaria
