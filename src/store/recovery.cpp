// Recovery and retention: the two passes over the journal that no single message asks for.
#include <fmt/format.h>

#include "store/journal.h"
#include "store/seen.h"

namespace talaria {
namespace {

Result<int> count_changes(Database& db, std::string_view sql, auto&&... values) {
  auto statement = db.prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  statement->bind(values...);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  return db.changes();
}

}  // namespace

Result<RecoveryReport> recover(Database& db, UnixMillis oldest, UnixMillis now) {
  RecoveryReport report;
  // Each step: SQL, where its count goes, and its two times.
  const auto step = [&](int& count, std::string_view sql, auto&&... values) -> Result<> {
    auto changed = count_changes(db, sql, values...);
    if (!changed) return std::unexpected(changed.error());
    count = *changed;
    return {};
  };
  int told = 0;
  int unparked = 0;
  int streams = 0;
  const std::string parked_words = fmt::format(
      "Sorry, I was interrupted {} times while answering your message, so I have put it aside. "
      "Please send it again if you still need it.",
      max_attempts);
  // A direct turn without a key has lost its asker with the connection; nobody can ever fetch its answer.
  if (auto ok =
          step(report.cancelled,
               "UPDATE turn SET state = 'cancelled', ended_at = ?1, error = 'the gateway ended while the asker waited'"
               " WHERE state IN ('queued', 'running') AND direct = 1 AND idempotency_key IS NULL",
               now);
      !ok) {
    return std::unexpected(ok.error());
  }
  // The first piece of an answer may have become a message that nobody saw.
  if (auto ok = step(streams,
                     "UPDATE outbox SET repeats = repeats + 1, attempts = 0 WHERE state = 'streaming'"
                     " AND platform_id IS NULL AND attempts > 0");
      !ok) {
    return std::unexpected(ok.error());
  }
  // Cut off for the last time: tell the chat, in the message that shows the beginning of the answer where there is one,
  // then park. Without an answer an idempotency key is free again, here and below.
  if (auto ok =
          step(streams,
               "UPDATE outbox SET state = CASE WHEN repeats > 0 THEN 'unknown' ELSE 'pending' END, body = ?1"
               " WHERE state = 'streaming' AND turn_id IN (SELECT id FROM turn WHERE state IN ('queued', 'running')"
               " AND state = 'running' AND attempts >= ?2)",
               parked_words, max_attempts);
      !ok) {
    return std::unexpected(ok.error());
  }
  if (auto ok =
          step(told,
               "INSERT INTO outbox(turn_id, channel, conversation, thread, reply_to, body, state, created_at)"
               " SELECT id, channel, conversation, thread, reply_to, ?2, 'pending', ?1 FROM turn"
               " WHERE state IN ('queued', 'running') AND state = 'running' AND attempts >= ?3 AND channel IS NOT NULL"
               " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.turn_id = turn.id)",
               now, parked_words, max_attempts);
      !ok) {
    return std::unexpected(ok.error());
  }
  if (auto ok = step(report.parked,
                     "UPDATE turn SET state = 'parked', ended_at = ?1, error = 'cut off too often', request = NULL,"
                     " idempotency_key = NULL"
                     " WHERE state IN ('queued', 'running') AND state = 'running' AND attempts >= ?2",
                     now, max_attempts);
      !ok) {
    return std::unexpected(ok.error());
  }
  if (auto ok = step(report.requeued,
                     "UPDATE turn SET state = 'queued' WHERE state IN ('queued', 'running') AND state = 'running'");
      !ok) {
    return std::unexpected(ok.error());
  }
  // The backlog is kept; what is too old to answer is listed, not silently gone (R2).
  if (auto ok = step(unparked,
                     "UPDATE event SET skipped = 'older than gateway.max_backlog_age' WHERE id IN"
                     " (SELECT event_id FROM turn WHERE state IN ('queued', 'running') AND queued_at < ?1)",
                     oldest);
      !ok) {
    return std::unexpected(ok.error());
  }
  if (auto ok = step(report.skipped,
                     "UPDATE turn SET state = 'cancelled', ended_at = ?1, error = 'older than gateway.max_backlog_age',"
                     " request = NULL, idempotency_key = NULL"
                     " WHERE state IN ('queued', 'running') AND queued_at < ?2",
                     now, oldest);
      !ok) {
    return std::unexpected(ok.error());
  }
  // What is left of an answer whose turn will not go on.
  if (auto ok = step(streams,
                     "UPDATE outbox SET state = CASE WHEN repeats > 0 THEN 'unknown' ELSE 'pending' END, body = ?1"
                     " WHERE state = 'streaming' AND NOT EXISTS (SELECT 1 FROM turn WHERE turn.id = turn_id"
                     " AND turn.state IN ('queued', 'running'))",
                     "Sorry, I was interrupted, and your message is too old now to answer it again.");
      !ok) {
    return std::unexpected(ok.error());
  }
  // An edit of a message that we know may be made again: nothing is repeated.
  if (auto ok = step(streams,
                     "UPDATE outbox SET state = 'pending' WHERE state IN ('pending', 'sending', 'unknown')"
                     " AND state = 'sending' AND platform_id IS NOT NULL AND parts = 0");
      !ok) {
    return std::unexpected(ok.error());
  }
  if (auto ok =
          step(report.unknown,
               "UPDATE outbox SET state = 'unknown', repeats = repeats + 1, error = 'the gateway ended while sending'"
               " WHERE state IN ('pending', 'sending', 'unknown') AND state = 'sending'");
      !ok) {
    return std::unexpected(ok.error());
  }
  return report;
}

Result<std::vector<std::int64_t>> open_turns_of(Database& db, const std::vector<std::int64_t>& ids) {
  std::vector<std::int64_t> open;
  for (const std::int64_t id : ids) {
    auto row = db.prepare("SELECT 1 FROM turn WHERE id = ?1 AND state IN ('queued', 'running')");
    if (!row) return std::unexpected(row.error());
    row->bind(id);
    const auto found = row->step();
    if (!found) return std::unexpected(found.error());
    if (*found) open.push_back(id);
  }
  return open;
}

Result<> hand_over_turns(Database& db, const std::vector<std::int64_t>& ids) {
  for (const std::int64_t id : ids) {
    auto changed = count_changes(db, "UPDATE turn SET attempts = attempts - 1 WHERE id = ?1 AND state = 'running'", id);
    if (!changed) return std::unexpected(changed.error());
  }
  return {};
}

Result<int> retire(Database& db, UnixMillis before, int limit) {
  auto events = retire_events(db, before, limit);
  if (!events) return std::unexpected(events.error());
  int gone = *events;
  for (const std::string_view sql : {
           "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE ended_at < ?1 AND state = 'sent' LIMIT ?2)",
           // A turn keeps its row while a reply of it is still on its way or dead.
           "DELETE FROM turn WHERE id IN (SELECT id FROM turn WHERE ended_at < ?1"
           " AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.turn_id = turn.id) LIMIT ?2)",
           "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE last_at < ?1"
           " AND NOT EXISTS (SELECT 1 FROM turn WHERE turn.session_id = session.id) LIMIT ?2)",
           "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE ended_at < ?1 LIMIT ?2)",
       }) {
    auto changed = count_changes(db, sql, before, limit);
    if (!changed) return std::unexpected(changed.error());
    gone += *changed;
  }
  return gone;
}

}  // namespace talaria
