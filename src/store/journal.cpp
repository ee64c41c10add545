#include "store/journal.h"

#include <fmt/format.h>

#include <algorithm>

#include "store/outbox.h"
#include "store/seen.h"

namespace talaria {
namespace {

Result<std::int64_t> touch_session(Database& db, const std::string& key, const std::string& agent, UnixMillis now) {
  auto statement = db.prepare(
      "INSERT INTO session(key, agent, created_at, last_at) VALUES (?1, ?2, ?3, ?3)"
      " ON CONFLICT(key) DO UPDATE SET agent = excluded.agent, last_at = excluded.last_at RETURNING id");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(key, agent, now);
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  return statement->integer(0);
}

// The session's last finished exchanges before `before`, oldest first.
Result<std::vector<Exchange>> history_of(Database& db, std::int64_t session_id, std::int64_t before, int limit) {
  std::vector<Exchange> history;
  if (session_id == 0 || limit <= 0) return history;
  auto statement = db.prepare(
      "SELECT prompt, answer FROM turn WHERE session_id = ?1 AND id < ?2 AND state = 'finished'"
      " AND id > (SELECT reset_turn FROM session WHERE id = ?1) ORDER BY id DESC LIMIT ?3");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(session_id, before, limit);
  for (;;) {
    auto row = statement->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) break;
    history.push_back({statement->text(0), statement->text(1)});
  }
  std::ranges::reverse(history);
  return history;
}

}  // namespace

Result<bool> insert_event(Database& db, const EventRow& event, const std::optional<std::string>& skipped) {
  auto seen = was_seen(db, event.route.channel, event.route.conversation, event.message_id);
  if (!seen) return std::unexpected(seen.error());
  if (*seen) return false;
  auto statement = db.prepare(
      "INSERT INTO event(channel, conversation, message_id, thread, sender_id, sender_name, body, received_at, skipped)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(event.route.channel, event.route.conversation, event.message_id, event.route.thread, event.sender_id,
                  event.sender_name, event.body, event.received_at, skipped);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  return db.changes() > 0;
}

Result<bool> is_journalled(Database& db, const std::string& channel, const std::string& conversation,
                           const std::string& message_id) {
  auto seen = was_seen(db, channel, conversation, message_id);
  if (!seen || *seen) return seen;
  auto statement = db.prepare("SELECT 1 FROM event WHERE channel = ?1 AND conversation = ?2 AND message_id = ?3");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(channel, conversation, message_id);
  return statement->step();
}

Result<Journalled> journal_event(Database& db, const EventRow& event, const std::string& session_key,
                                 const std::string& agent, UnixMillis oldest, UnixMillis now) {
  std::optional<std::string> skipped;
  if (event.received_at < oldest) skipped = "older than gateway.max_backlog_age";
  const bool relayed = event.relay && !skipped;
  if (relayed) skipped = "relayed";
  auto inserted = insert_event(db, event, skipped);
  if (!inserted) return std::unexpected(inserted.error());
  if (!*inserted) return Journalled{.duplicate = true};
  const RouteRow& answer_to = event.answer_to ? *event.answer_to : event.route;
  if (relayed) {
    auto queued = queue_reply(db, answer_to, event.body, now);
    if (!queued) return std::unexpected(queued.error());
    return Journalled{.outbox_id = *queued};
  }
  if (skipped) return Journalled{};
  const std::int64_t event_id = db.last_insert_id();

  auto session = touch_session(db, session_key, agent, now);
  if (!session) return std::unexpected(session.error());
  auto statement = db.prepare(
      "INSERT INTO turn(session_id, event_id, direct, agent, state, prompt, channel, conversation, thread, reply_to, "
      "queued_at)"
      " VALUES (?1, ?2, 0, ?3, 'queued', ?4, ?5, ?6, ?7, ?8, ?9)");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(*session, event_id, agent, event.body, answer_to.channel, answer_to.conversation, answer_to.thread,
                  answer_to.reply_to, now);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  return Journalled{.duplicate = false, .turn_id = db.last_insert_id(), .session_id = *session};
}

Result<std::optional<KeyedTurn>> find_keyed_turn(Database& db, const std::string& idempotency_key) {
  auto statement = db.prepare(
      "SELECT id, state, request_digest, answer, finish_reason, prompt_tokens, completion_tokens, error FROM turn"
      " WHERE idempotency_key = ?1");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(idempotency_key);
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return std::nullopt;
  return KeyedTurn{.id = statement->integer(0),
                   .state = statement->text(1),
                   .request_digest = statement->text(2),
                   .answer = statement->text(3),
                   .finish_reason = statement->text(4),
                   .prompt_tokens = static_cast<int>(statement->integer(5)),
                   .completion_tokens = static_cast<int>(statement->integer(6)),
                   .error = statement->text(7)};
}

Result<DirectJournalled> journal_direct(Database& db, const DirectTurnRow& turn, UnixMillis now) {
  DirectJournalled done;
  if (!turn.idempotency_key.empty()) {
    auto known = find_keyed_turn(db, turn.idempotency_key);
    if (!known) return std::unexpected(known.error());
    if (*known) {
      done.known = std::move(**known);
      return done;
    }
  }
  if (!turn.session_key.empty()) {
    auto session = touch_session(db, turn.session_key, turn.agent, now);
    if (!session) return std::unexpected(session.error());
    done.session_id = *session;
  }
  auto statement = db.prepare(
      "INSERT INTO turn(session_id, direct, agent, state, attempts, prompt, request, idempotency_key, request_digest,"
      " queued_at, started_at) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
  if (!statement) return std::unexpected(statement.error());
  const auto or_null = [](const std::string& s) { return s.empty() ? std::optional<std::string>() : std::optional(s); };
  const bool keyed = !turn.idempotency_key.empty();
  statement->bind(done.session_id != 0 ? std::optional(done.session_id) : std::nullopt, turn.agent,
                  turn.start_now ? "running" : "queued", turn.start_now ? 1 : 0, turn.prompt,
                  keyed ? or_null(turn.request) : std::nullopt, or_null(turn.idempotency_key),
                  keyed ? or_null(turn.request_digest) : std::nullopt, now,
                  turn.start_now ? std::optional(now) : std::nullopt);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  done.turn_id = db.last_insert_id();
  auto history = history_of(db, done.session_id, done.turn_id, turn.history);
  if (!history) return std::unexpected(history.error());
  done.history = std::move(*history);
  return done;
}

Result<std::vector<Exchange>> begin_turn(Database& db, std::int64_t turn_id, std::int64_t session_id, int history,
                                         UnixMillis now) {
  auto statement = db.prepare(
      "UPDATE turn SET state = 'running', attempts = attempts + 1, started_at = ?2 WHERE id = ?1 AND state = 'queued'");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(turn_id, now);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  if (db.changes() == 0) return fail(ErrorKind::conflict, fmt::format("turn {} is not queued", turn_id));
  return history_of(db, session_id, turn_id, history);
}

Result<std::int64_t> end_turn(Database& db, const TurnEnd& end, UnixMillis now) {
  const auto or_null = [](const std::string& s) { return s.empty() ? std::optional<std::string>() : std::optional(s); };
  auto statement = db.prepare(
      "UPDATE turn SET state = ?2, answer = ?3, finish_reason = ?4, prompt_tokens = ?5, completion_tokens = ?6, error "
      "= ?7,"
      " ended_at = ?8, request = NULL, idempotency_key = CASE ?2 WHEN 'finished' THEN idempotency_key END WHERE id = "
      "?1 AND state IN ('queued', 'running')"
      " RETURNING channel, conversation, thread, reply_to");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(end.turn_id, end.state, end.state == "finished" ? std::optional(end.answer) : std::nullopt,
                  or_null(end.finish_reason), end.prompt_tokens, end.completion_tokens, or_null(end.error), now);
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(ErrorKind::conflict, fmt::format("turn {} has ended already", end.turn_id));
  const RouteRow route{statement->text(0), statement->text(1), statement->text(2), statement->text(3)};
  const bool has_route = !statement->is_null(0);
  while (true) {  // RETURNING: the update is complete only when the statement is done
    auto more = statement->step();
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
  }
  if (!end.reply || !has_route) return 0;
  return queue_turn_reply(db, end.turn_id, route, *end.reply, end.attachments, now);
}

Result<QueuedTurns> count_queued_turns(Database& db) {
  auto statement = db.prepare(
      "SELECT count(*), coalesce(max(id), 0) FROM turn WHERE state IN ('queued', 'running') AND state = 'queued'");
  if (!statement) return std::unexpected(statement.error());
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  return QueuedTurns{statement->integer(0), statement->integer(1)};
}

Result<std::vector<TurnRow>> queued_turns(Database& db, std::int64_t after, std::int64_t direct_upto, int limit) {
  auto statement = db.prepare(
      "SELECT t.id, t.session_id, s.key, t.direct, t.agent, t.attempts, t.prompt, t.request,"
      " t.channel, t.conversation, t.thread, t.reply_to FROM turn t LEFT JOIN session s ON s.id = t.session_id"
      " WHERE t.state IN ('queued', 'running') AND t.state = 'queued' AND t.id > ?1"
      " AND (t.direct = 0 OR t.id <= ?2) ORDER BY t.id LIMIT ?3");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(after, direct_upto, limit);
  std::vector<TurnRow> turns;
  for (;;) {
    auto row = statement->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return turns;
    turns.push_back({.id = statement->integer(0),
                     .session_id = statement->integer(1),
                     .session_key = statement->text(2),
                     .direct = statement->integer(3) != 0,
                     .agent = statement->text(4),
                     .attempts = static_cast<int>(statement->integer(5)),
                     .prompt = statement->text(6),
                     .request = statement->text(7),
                     .route = {statement->text(8), statement->text(9), statement->text(10), statement->text(11)}});
  }
}

}  // namespace talaria
