#include "store/outbox.h"

#include <fmt/format.h>

namespace talaria {
namespace {

constexpr std::string_view columns =
    "id, channel, conversation, thread, reply_to, body, state, attempts, repeats, error, created_at";

OutboxRow row_of(const Statement& s) {
  return {.id = s.integer(0),
          .route = {s.text(1), s.text(2), s.text(3), s.text(4)},
          .body = s.text(5),
          .state = s.text(6),
          .attempts = static_cast<int>(s.integer(7)),
          .repeats = static_cast<int>(s.integer(8)),
          .error = s.text(9),
          .created_at = s.integer(10)};
}

// Runs an UPDATE of the row; `conflict` when it is not in the state that the step starts from.
Result<> change(Database& db, std::string_view sql, std::int64_t id, auto&&... values) {
  auto statement = db.prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  statement->bind(id, values...);
  if (auto ok = statement->run(); !ok) return ok;
  if (db.changes() == 0)
    return fail(ErrorKind::conflict, fmt::format("outbox row {} is not in a state for this step", id));
  return {};
}

}  // namespace

Result<std::int64_t> queue_reply(Database& db, const RouteRow& route, const std::string& body, UnixMillis now) {
  auto statement = db.prepare(
      "INSERT INTO outbox(channel, conversation, thread, reply_to, body, state, created_at)"
      " VALUES (?1, ?2, ?3, ?4, ?5, 'pending', ?6)");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(route.channel, route.conversation, route.thread, route.reply_to, body, now);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  return db.last_insert_id();
}

Result<std::optional<OutboxRow>> take_next_reply(Database& db, const std::string& channel,
                                                 const std::string& conversation) {
  OutboxRow row;
  {
    auto statement = db.prepare(fmt::format(
        "SELECT {} FROM outbox WHERE channel = ?1 AND conversation = ?2 AND state IN ('pending', 'sending', 'unknown')"
        " ORDER BY id LIMIT 1",
        columns));
    if (!statement) return std::unexpected(statement.error());
    statement->bind(channel, conversation);
    auto found = statement->step();
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    row = row_of(*statement);
  }
  if (auto ok = change(db, "UPDATE outbox SET state = 'sending', attempts = attempts + 1 WHERE id = ?1", row.id); !ok) {
    return std::unexpected(ok.error());
  }
  ++row.attempts;
  return row;
}

Result<> reply_sent(Database& db, std::int64_t id, const std::string& platform_id, UnixMillis now) {
  return change(db,
                "UPDATE outbox SET state = 'sent', platform_id = ?2, error = NULL, ended_at = ?3 WHERE id = ?1"
                " AND state = 'sending'",
                id, platform_id, now);
}

Result<> reply_retry(Database& db, std::int64_t id, const std::string& why) {
  // A row whose fate was once unknown stays so: the mark must not get lost by a later clean failure.
  return change(db,
                "UPDATE outbox SET state = CASE WHEN repeats > 0 THEN 'unknown' ELSE 'pending' END, error = ?2"
                " WHERE id = ?1 AND state = 'sending'",
                id, why);
}

Result<> reply_unknown(Database& db, std::int64_t id, const std::string& why) {
  return change(db,
                "UPDATE outbox SET state = 'unknown', repeats = repeats + 1, error = ?2 WHERE id = ?1"
                " AND state = 'sending'",
                id, why);
}

Result<> reply_dead(Database& db, std::int64_t id, const std::string& why, UnixMillis now) {
  return change(db, "UPDATE outbox SET state = 'dead', error = ?2, ended_at = ?3 WHERE id = ?1 AND state = 'sending'",
                id, why, now);
}

Result<std::vector<OpenConversation>> open_conversations(Database& db) {
  auto statement = db.prepare(
      "SELECT channel, conversation, count(*) FROM outbox WHERE state IN ('pending', 'sending', 'unknown')"
      " GROUP BY channel, conversation");
  if (!statement) return std::unexpected(statement.error());
  std::vector<OpenConversation> found;
  for (;;) {
    auto row = statement->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return found;
    found.push_back({statement->text(0), statement->text(1), statement->integer(2)});
  }
}

Result<OutboxCounts> count_outbox(Database& db) {
  auto statement = db.prepare(
      "SELECT (SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending', 'unknown')),"
      " (SELECT count(*) FROM outbox WHERE state = 'dead')");
  if (!statement) return std::unexpected(statement.error());
  if (auto row = statement->step(); !row) return std::unexpected(row.error());
  return OutboxCounts{statement->integer(0), statement->integer(1)};
}

Result<std::vector<OutboxRow>> list_outbox(Database& db, const std::string& state, int limit) {
  auto statement = db.prepare(fmt::format(
      "SELECT {} FROM outbox WHERE (?1 = '' AND state <> 'sent') OR state = ?1 ORDER BY id LIMIT ?2", columns));
  if (!statement) return std::unexpected(statement.error());
  statement->bind(state, limit);
  std::vector<OutboxRow> rows;
  for (;;) {
    auto row = statement->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return rows;
    rows.push_back(row_of(*statement));
  }
}

Result<RouteRow> retry_dead(Database& db, std::int64_t id) {
  auto statement = db.prepare(
      "UPDATE outbox SET state = CASE WHEN repeats > 0 THEN 'unknown' ELSE 'pending' END, ended_at = NULL"
      " WHERE id = ?1 AND state = 'dead' RETURNING channel, conversation, thread, reply_to");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(id);
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row)
    return fail(ErrorKind::not_found,
                fmt::format("there is no dead outbox row {}; `talaria outbox list` shows them", id));
  RouteRow route{statement->text(0), statement->text(1), statement->text(2), statement->text(3)};
  if (auto end = statement->step(); !end) return std::unexpected(end.error());
  return route;
}

Result<> discard_dead(Database& db, std::int64_t id) {
  auto done = change(db, "DELETE FROM outbox WHERE id = ?1 AND state = 'dead'", id);
  if (!done && done.error().kind == ErrorKind::conflict) {
    return fail(ErrorKind::not_found,
                fmt::format("there is no dead outbox row {}; `talaria outbox list` shows them", id));
  }
  return done;
}

}  // namespace talaria
