#pragma once
// The outbox: the one owner of every reply (R3). A row is `pending`, then `sending` (committed before the platform is
// called), then `sent`; `unknown` when nobody saw whether the platform took it; `dead` when it never will. A reply that
// is shown while the agent writes it begins as `streaming`: its row exists before the first piece leaves, and the end
// of the turn gives it its text and makes it `pending`.

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
  std::string platform_id;  // of the message that shows it already; empty: none
  int parts = 0;            // of a long reply: platform messages that arrived
  std::string attachments;  // JSON; empty: none
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
// One more platform message of a long reply has arrived.
[[nodiscard]] Result<> reply_part_sent(Database& db, std::int64_t id);
[[nodiscard]] Result<> reply_dead(Database& db, std::int64_t id, const std::string& why, UnixMillis now);

// What a turn is about to show of its answer: the row that an earlier attempt left, or a new one. Before the platform
// is called; from then on nobody knows whether it has a message until stream_shown() or stream_not_shown().
struct StreamRow {
  std::int64_t id = 0;
  std::string platform_id;  // that an earlier attempt left; empty: none
  int repeats = 0;          // an earlier attempt may have left a message that we don't know
};
[[nodiscard]] Result<StreamRow> begin_stream(Database& db, std::int64_t turn_id, const RouteRow& route, UnixMillis now);
[[nodiscard]] Result<> stream_shown(Database& db, std::int64_t id, const std::string& platform_id);
// Certainly not shown; `unknown`: it may have been.
[[nodiscard]] Result<> stream_not_shown(Database& db, std::int64_t id, bool unknown);
// The reply of a turn: the row that streaming began gets its text, else there is a new one. Returns the row's id.
[[nodiscard]] Result<std::int64_t> queue_turn_reply(Database& db, std::int64_t turn_id, const RouteRow& route,
                                                    const std::string& body, const std::string& attachments,
                                                    UnixMillis now);

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
