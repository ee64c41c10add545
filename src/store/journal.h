#pragma once
// The journal and the turns: what came in, and what was made of it. Functions for the store's jobs; each changes rows
// of one transaction and knows nothing of the event loop. Times are Unix milliseconds.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "store/database.h"

namespace talaria {

struct RouteRow {
  std::string channel, conversation, thread, reply_to;
};

struct EventRow {
  RouteRow route;
  std::string message_id;
  std::string sender_id, sender_name;
  std::string body;
  UnixMillis received_at = 0;
  std::optional<RouteRow> answer_to;  // where the answer goes; none: to `route`
  bool relay = false;                 // no turn: the body itself is the reply to `answer_to`
};

// One earlier turn of a session as the agent sees it.
struct Exchange {
  std::string prompt;
  std::string answer;
};

struct TurnRow {
  std::int64_t id = 0;
  std::int64_t session_id = 0;  // 0: stateless
  std::string session_key;
  bool direct = false;
  std::string agent;
  int attempts = 0;
  std::string prompt;
  std::string request;  // JSON of an idempotent direct turn
  RouteRow route;
};

struct Journalled {
  bool duplicate = false;
  std::int64_t turn_id = 0;  // 0 for a duplicate, a skipped or a relayed event
  std::int64_t session_id = 0;
  std::int64_t outbox_id = 0;  // of a relayed event
};

// Journals an event alone; `skipped`: why no turn answers it. False: it was there already (R1).
[[nodiscard]] Result<bool> insert_event(Database& db, const EventRow& event, const std::optional<std::string>& skipped);

// Whether that event was journalled before (R1).
[[nodiscard]] Result<bool> is_journalled(Database& db, const std::string& channel, const std::string& conversation,
                                         const std::string& message_id);

// Journals an event and queues its turn, or its relay, in the same transaction. An event older than `oldest` is
// journalled as skipped, with the reason, and gets no turn (R2).
[[nodiscard]] Result<Journalled> journal_event(Database& db, const EventRow& event, const std::string& session_key,
                                               const std::string& agent, UnixMillis oldest, UnixMillis now);

struct DirectTurnRow {
  std::string session_key;  // empty: stateless
  std::string agent;
  std::string prompt;
  std::string request;          // kept only with a key
  std::string idempotency_key;  // empty: none
  std::string request_digest;
  bool start_now = false;  // enters `running` at once
  int history = 0;         // earlier turns wanted back
};

// What is known under an idempotency key.
struct KeyedTurn {
  std::int64_t id = 0;
  std::string state;
  std::string request_digest;
  std::string answer, finish_reason;
  int prompt_tokens = 0, completion_tokens = 0;
  std::string error;
};

struct DirectJournalled {
  std::int64_t turn_id = 0;
  std::int64_t session_id = 0;
  std::vector<Exchange> history;   // oldest first
  std::optional<KeyedTurn> known;  // the key exists already: nothing was written
};
[[nodiscard]] Result<DirectJournalled> journal_direct(Database& db, const DirectTurnRow& turn, UnixMillis now);
[[nodiscard]] Result<std::optional<KeyedTurn>> find_keyed_turn(Database& db, const std::string& idempotency_key);

// queued → running; attempts + 1. Returns the session's last `history` finished exchanges, oldest first.
[[nodiscard]] Result<std::vector<Exchange>> begin_turn(Database& db, std::int64_t turn_id, std::int64_t session_id,
                                                       int history, UnixMillis now);

struct TurnEnd {
  std::int64_t turn_id = 0;
  std::string state;  // finished | failed | cancelled | parked
  std::string answer;
  std::string finish_reason;
  int prompt_tokens = 0, completion_tokens = 0;
  std::string error;                 // the full story; never leaves the machine
  std::string attachments;           // of the reply, JSON; empty: none
  std::optional<std::string> reply;  // goes to the outbox, to the turn's own route (R5)
};
// Ends the turn and puts its reply into the outbox in the same transaction. A turn without an answer frees its
// idempotency key: whoever asks again with it is given a new turn. Returns the outbox row's id, 0 without a reply.
[[nodiscard]] Result<std::int64_t> end_turn(Database& db, const TurnEnd& end, UnixMillis now);

// Turns that go on in the next program were not cut off: this attempt does not count.
[[nodiscard]] Result<> hand_over_turns(Database& db, const std::vector<std::int64_t>& ids);

// Those of them that have not ended.
[[nodiscard]] Result<std::vector<std::int64_t>> open_turns_of(Database& db, const std::vector<std::int64_t>& ids);

// Queued turns after `after`, oldest first; of direct ones only those up to `direct_upto`.
[[nodiscard]] Result<std::vector<TurnRow>> queued_turns(Database& db, std::int64_t after, std::int64_t direct_upto,
                                                        int limit);
struct QueuedTurns {
  std::int64_t count = 0;
  std::int64_t newest = 0;  // id; 0: there is none
};
[[nodiscard]] Result<QueuedTurns> count_queued_turns(Database& db);

// Opening the store is recovery; the same after a clean stop, a SIGKILL and a power cut. A turn that is parked,
// cancelled or skipped frees its idempotency key.
struct RecoveryReport {
  int requeued = 0;   // turns that were cut off and will run again
  int parked = 0;     // cut off for the third time: their chats are told
  int cancelled = 0;  // direct turns whose asker went with the connection
  int skipped = 0;    // queued turns older than the backlog limit
  int unknown = 0;    // replies whose fate nobody saw
};
inline constexpr int max_attempts = 3;
[[nodiscard]] Result<RecoveryReport> recover(Database& db, UnixMillis oldest, UnixMillis now);

// Deletes ended turns, sent replies and old runs that ended before `before`, at most `limit` of each; of events what
// recognises them stays (seen.h). Returns how many rows went.
[[nodiscard]] Result<int> retire(Database& db, UnixMillis before, int limit);

}  // namespace talaria
