#include "store/outbox.h"

#include <fmt/format.h>

namespace talaria {
namespace {

constexpr std::string_view columns =
    "id, channel, conversation, thread, reply_to, body, state, attempts, repeats, error, created_at, platform_id, "
    "parts,"
    " attachments";

OutboxRow row_of(const Statement& s) {
  return {.id = s.integer(0),
          .route = {s.text(1), s.text(2), s.text(3), s.text(4)},
          .body = s.text(5),
          .state = s.text(6),
          .attempts = static_cast<int>(s.integer(7)),
          .repeats = static_cast<int>(s.integer(8)),
          .error = s.text(9),
          .created_at = s.integer(10),
          .platform_id = s.text(11),
          .parts = static_cast<int>(s.integer(12)),
          .attachments = s.text(13)};
}

// Runs an UPDATE of the row; `conflict` when it is not in the state that the step starts from.
Result<> step(Database& db, std::string_view sql, std::int64_t id, auto&&... values) {
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
  if (auto ok = step(db, "UPDATE outbox SET state = 'sending', attempts = attempts + 1 WHERE id = ?1", row.id); !ok) {
    return std::unexpected(ok.error());
  }
  ++row.attempts;
  return row;
}

Result<> reply_sent(Database& db, std::int64_t id, const std::string& platform_id, UnixMillis now) {
  return step(db,
              "UPDATE outbox SET state = 'sent', platform_id = ?2, error = NULL, ended_at = ?3 WHERE id = ?1"
              " AND state = 'sending'",
              id, platform_id, now);
}

Result<> reply_retry(Database& db, std::int64_t id, const std::string& why) {
  // A row whose fate was once unknown stays so: the mark must not get lost by a later clean failure.
  return step(db,
              "UPDATE outbox SET state = CASE WHEN repeats > 0 THEN 'unknown' ELSE 'pending' END, error = ?2"
              " WHERE id = ?1 AND state = 'sending'",
              id, why);
}

Result<> reply_unknown(Database& db, std::int64_t id, const std::string& why) {
  return step(db,
              "UPDATE outbox SET state = 'unknown', repeats = repeats + 1, error = ?2 WHERE id = ?1"
              " AND state = 'sending'",
              id, why);
}

Result<> reply_part_sent(Database& db, std::int64_t id) {
  // Whatever happens to the next part, this one has a receipt.
  return step(db, "UPDATE outbox SET parts = parts + 1, repeats = 0 WHERE id = ?1 AND state = 'sending'", id);
}

Result<> reply_dead(Database& db, std::int64_t id, const std::string& why, UnixMillis now) {
  return step(db, "UPDATE outbox SET state = 'dead', error = ?2, ended_at = ?3 WHERE id = ?1 AND state = 'sending'", id,
              why, now);
}

Result<StreamRow> begin_stream(Database& db, std::int64_t turn_id, const RouteRow& route, UnixMillis now) {
  {
    auto found = db.prepare(
        "UPDATE outbox SET attempts = attempts + 1 WHERE turn_id = ?1 AND state = 'streaming'"
        " RETURNING id, platform_id, repeats");
    if (!found) return std::unexpected(found.error());
    found->bind(turn_id);
    auto row = found->step();
    if (!row) return std::unexpected(row.error());
    if (*row) {
      StreamRow stream{found->integer(0), found->text(1), static_cast<int>(found->integer(2))};
      if (auto end = found->step(); !end) return std::unexpected(end.error());
      return stream;
    }
  }
  auto insert = db.prepare(
      "INSERT INTO outbox(turn_id, channel, conversation, thread, reply_to, body, state, attempts, created_at)"
      " VALUES (?1, ?2, ?3, ?4, ?5, '', 'streaming', 1, ?6)");
  if (!insert) return std::unexpected(insert.error());
  insert->bind(turn_id, route.channel, route.conversation, route.thread, route.reply_to, now);
  if (auto ok = insert->run(); !ok) return std::unexpected(ok.error());
  return StreamRow{.id = db.last_insert_id(), .platform_id = "", .repeats = 0};
}

Result<> stream_shown(Database& db, std::int64_t id, const std::string& platform_id) {
  return step(db, "UPDATE outbox SET platform_id = ?2, repeats = 0 WHERE id = ?1 AND state = 'streaming'", id,
              platform_id);
}

Result<> stream_not_shown(Database& db, std::int64_t id, bool unknown) {
  return step(db,
              "UPDATE outbox SET attempts = 0, repeats = repeats + ?2 WHERE id = ?1 AND state = 'streaming'"
              " AND platform_id IS NULL",
              id, unknown ? 1 : 0);
}

Result<std::int64_t> queue_turn_reply(Database& db, std::int64_t turn_id, const RouteRow& route,
                                      const std::string& body, const std::string& attachments, UnixMillis now) {
  const auto files = attachments.empty() ? std::nullopt : std::optional(attachments);
  {
    auto shown = db.prepare(
        "UPDATE outbox SET state = CASE WHEN repeats > 0 THEN 'unknown' ELSE 'pending' END, attempts = 0, body = ?2,"
        " attachments = ?3 WHERE turn_id = ?1 AND state = 'streaming' RETURNING id");
    if (!shown) return std::unexpected(shown.error());
    shown->bind(turn_id, body, files);
    auto row = shown->step();
    if (!row) return std::unexpected(row.error());
    if (*row) {
      const std::int64_t id = shown->integer(0);
      if (auto end = shown->step(); !end) return std::unexpected(end.error());
      return id;
    }
  }
  auto insert = db.prepare(
      "INSERT INTO outbox(turn_id, channel, conversation, thread, reply_to, body, attachments, state, created_at)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8)");
  if (!insert) return std::unexpected(insert.error());
  insert->bind(turn_id, route.channel, route.conversation, route.thread, route.reply_to, body, files, now);
  if (auto ok = insert->run(); !ok) return std::unexpected(ok.error());
  return db.last_insert_id();
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
  auto done = step(db, "DELETE FROM outbox WHERE id = ?1 AND state = 'dead'", id);
  if (!done && done.error().kind == ErrorKind::conflict) {
    return fail(ErrorKind::not_found,
                fmt::format("there is no dead outbox row {}; `talaria outbox list` shows them", id));
  }
  return done;
}

}  // namespace talaria
