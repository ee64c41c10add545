#include "store/runs.h"

namespace talaria {
namespace {

constexpr std::string_view select_runs =
    "SELECT id, pid, process_start, boot_id, scope, unit, version, started_at, ready_at, ended_at, verdict, cause, "
    "evidence,"
    " exit_code, kind, phases, invocation_id, manager_at FROM run ";

Result<std::vector<RunRow>> rows_of(Statement& s) {
  std::vector<RunRow> runs;
  for (;;) {
    auto row = s.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return runs;
    runs.push_back({.id = s.integer(0),
                    .pid = s.integer(1),
                    .process_start = static_cast<std::uint64_t>(s.integer(2)),
                    .boot_id = s.text(3),
                    .scope = s.text(4),
                    .unit = s.text(5),
                    .version = s.text(6),
                    .started_at = s.integer(7),
                    .ready_at = s.maybe_integer(8),
                    .ended_at = s.maybe_integer(9),
                    .verdict = s.text(10),
                    .cause = s.text(11),
                    .evidence = s.text(12),
                    .exit_code = static_cast<int>(s.integer(13)),
                    .kind = s.text(14),
                    .phases = s.text(15),
                    .invocation_id = s.text(16),
                    .manager_at = s.maybe_integer(17)});
  }
}

}  // namespace

Result<std::int64_t> begin_run(Database& db, const RunRow& run) {
  auto statement = db.prepare(
      "INSERT INTO run(pid, process_start, boot_id, scope, unit, version, started_at, invocation_id)"
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(run.pid, run.process_start, run.boot_id, run.scope, run.unit, run.version, run.started_at,
                  run.invocation_id);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  return db.last_insert_id();
}

Result<bool> adopt_run(Database& db, const RunRow& run) {
  auto statement = db.prepare(
      "UPDATE run SET version = ?5, started_at = ?6 WHERE id = ?1 AND pid = ?2 AND process_start = ?3 AND boot_id = ?4 "
      "AND verdict IS NULL");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(run.id, run.pid, run.process_start, run.boot_id, run.version, run.started_at);
  if (auto ok = statement->run(); !ok) return std::unexpected(ok.error());
  return db.changes() == 1;
}

Result<> run_ready(Database& db, std::int64_t id, UnixMillis now) {
  auto statement = db.prepare("UPDATE run SET ready_at = ?2 WHERE id = ?1 AND ready_at IS NULL");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(id, now);
  return statement->run();
}

Result<> end_run(Database& db, std::int64_t id, const RunEnd& end) {
  auto statement = db.prepare(
      "UPDATE run SET verdict = ?2, kind = ?3, cause = ?4, evidence = ?5, phases = ?6, exit_code = ?7, ended_at = ?8"
      " WHERE id = ?1 AND verdict IS NULL");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(id, end.verdict, end.kind, end.cause, end.evidence, end.phases, end.exit_code, end.at);
  return statement->run();
}

Result<> amend_run(Database& db, const RunRow& run) {
  auto statement = db.prepare(
      "UPDATE run SET verdict = ?2, kind = ?3, cause = ?4, evidence = ?5, phases = ?6, exit_code = ?7, ended_at = ?8,"
      " manager_at = ?9 WHERE id = ?1");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(run.id, run.verdict, run.kind, run.cause, run.evidence, run.phases, run.exit_code, run.ended_at,
                  run.manager_at);
  return statement->run();
}

Result<std::int64_t> add_ended_run(Database& db, const RunRow& run) {
  auto id = begin_run(db, run);
  if (!id) return id;
  RunRow added = run;
  added.id = *id;
  if (auto ok = amend_run(db, added); !ok) return std::unexpected(ok.error());
  return id;
}

Result<std::vector<RunRow>> open_runs(Database& db, std::int64_t except) {
  auto statement = db.prepare(std::string(select_runs) + "WHERE verdict IS NULL AND id <> ?1 ORDER BY id");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(except);
  return rows_of(*statement);
}

Result<std::vector<RunRow>> list_runs(Database& db, int limit) {
  auto statement = db.prepare(std::string(select_runs) + "ORDER BY id DESC LIMIT ?1");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(limit);
  return rows_of(*statement);
}

}  // namespace talaria
