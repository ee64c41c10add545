#pragma once
// The outbox: the one owner of every reply (R3). A row is `pending`, then `sending` (committed before the platform is
// called), then `sent`; `unknown` when nobody saw whether the platform took it; `dead` when it never will.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/database.h"
#include "store/journal.h"

namespace talaria {

struct OutboxRow {
  std::int64_t id = 0;
  RouteRow route;
  std::string body;
  std::string state;
  int attempts = 0;
  int repeats = 0;
  std::string error;
  UnixMillis created_at = 0;
};

[[nodiscard]] Result<std::int64_t> queue_reply(Database& db, const RouteRow& route, const std::string& body,
                                               UnixMillis now);

// The oldest open row of a conversation, moved to `sending`; none left: nullopt. A row that was `unknown` keeps its
// count of repeats, so that the message can be marked.
[[nodiscard]] Result<std::optional<OutboxRow>> take_next_reply(Database& db, const std::string& channel,
                                                               const std::string& conversation);
[[nodiscard]] Result<> reply_sent(Database& db, std::int64_t id, const std::string& platform_id, UnixMillis now);
[[nodiscard]] Result<> reply_retry(Database& db, std::int64_t id, const std::string& why);
[[nodiscard]] Result<> reply_unknown(Database& db, std::int64_t id, const std::string& why);
[[nodiscard]] Result<> reply_dead(Database& db, std::int64_t id, const std::string& why, UnixMillis now);

// Conversations with open rows: what delivery takes up at the start.
struct OpenConversation {
  std::string channel, conversation;
  std::int64_t replies = 0;
};
[[nodiscard]] Result<std::vector<OpenConversation>> open_conversations(Database& db);

struct OutboxCounts {
  std::int64_t open = 0;
  std::int64_t dead = 0;
};
[[nodiscard]] Result<OutboxCounts> count_outbox(Database& db);

// For the operator. `state` empty: all but `sent`.
[[nodiscard]] Result<std::vector<OutboxRow>> list_outbox(Database& db, const std::string& state, int limit);
// dead → pending. not_found: no dead row of that id. Returns its route.
[[nodiscard]] Result<RouteRow> retry_dead(Database& db, std::int64_t id);
[[nodiscard]] Result<> discard_dead(Database& db, std::int64_t id);

}  // namespace talaria
