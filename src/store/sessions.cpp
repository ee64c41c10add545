#include "store/sessions.h"

#include <fmt/format.h>

#include <algorithm>

namespace talaria {

Result<std::vector<SessionRow>> list_sessions(Database& db, int limit) {
  auto s = db.prepare(
      "SELECT id, key, agent, created_at, last_at,"
      " (SELECT count(*) FROM turn WHERE turn.session_id = session.id AND turn.id > session.reset_turn)"
      " FROM session ORDER BY last_at DESC, id DESC LIMIT ?1");
  if (!s) return std::unexpected(s.error());
  s->bind(limit);
  std::vector<SessionRow> rows;
  for (;;) {
    auto row = s->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return rows;
    rows.push_back({s->integer(0), s->text(1), s->text(2), s->integer(3), s->integer(4), s->integer(5)});
  }
}

Result<std::vector<SessionTurn>> session_turns(Database& db, const std::string& key, int limit) {
  std::int64_t id = 0;
  {
    auto s = db.prepare("SELECT id FROM session WHERE key = ?1");
    if (!s) return std::unexpected(s.error());
    s->bind(key);
    auto row = s->step();
    if (!row) return std::unexpected(row.error());
    if (!*row)
      return fail(ErrorKind::not_found,
                  fmt::format("there is no session \"{}\"; `talaria sessions list` shows them", key));
    id = s->integer(0);
  }
  auto s = db.prepare(
      "SELECT id, state, prompt, answer, queued_at FROM turn WHERE session_id = ?1"
      " AND id > (SELECT reset_turn FROM session WHERE id = ?1) ORDER BY id DESC LIMIT ?2");
  if (!s) return std::unexpected(s.error());
  s->bind(id, limit);
  std::vector<SessionTurn> turns;
  for (;;) {
    auto row = s->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) break;
    turns.push_back({s->integer(0), s->text(1), s->text(2), s->text(3), s->integer(4)});
  }
  std::ranges::reverse(turns);
  return turns;
}

Result<> reset_session(Database& db, const std::string& key) {
  auto s = db.prepare(
      "UPDATE session SET reset_turn = coalesce((SELECT max(id) FROM turn WHERE session_id = session.id), 0) WHERE key "
      "= ?1");
  if (!s) return std::unexpected(s.error());
  s->bind(key);
  if (auto ok = s->run(); !ok) return ok;
  if (db.changes() == 0) {
    return fail(ErrorKind::not_found,
                fmt::format("there is no session \"{}\"; `talaria sessions list` shows them", key));
  }
  return {};
}

}  // namespace talaria
