#include "store/schema.h"

#include <fmt/format.h>

namespace talaria {
namespace {

// "TALA", PRAGMA application_id: says that the file is ours.
constexpr std::int64_t application_id = 0x54414C41;

// Step k leads from version k to k + 1. Never edit a step that was released; add one.
constexpr const char* steps[] = {
    R"sql(
-- A conversation with memory. `key` is an encoded tuple (gateway/session_key.h); turns up to `reset_turn` are forgotten.
CREATE TABLE session(
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  agent TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  reset_turn INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The journal: what platforms gave us. The unique triple recognises a redelivery for ever (R1).
CREATE TABLE event(
  id INTEGER PRIMARY KEY,
  channel TEXT NOT NULL,
  conversation TEXT NOT NULL,
  message_id TEXT NOT NULL,
  thread TEXT NOT NULL,
  sender_id TEXT NOT NULL,
  sender_name TEXT NOT NULL,
  body TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  skipped TEXT,                      -- why no turn answers it; NULL: one does
  UNIQUE(channel, conversation, message_id)
) STRICT;

-- queued → running → finished | failed | cancelled | parked (R4). Exactly one of event_id and direct.
CREATE TABLE turn(
  id INTEGER PRIMARY KEY,
  session_id INTEGER REFERENCES session(id),
  event_id INTEGER REFERENCES event(id),
  direct INTEGER NOT NULL,           -- 1: somebody waits for it on a connection (API, terminal)
  agent TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  prompt TEXT NOT NULL,
  request TEXT,                      -- direct and idempotent: all that is needed to run it again, JSON
  answer TEXT,
  finish_reason TEXT,
  prompt_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  idempotency_key TEXT,
  request_digest TEXT,
  channel TEXT, conversation TEXT, thread TEXT, reply_to TEXT,   -- the route (R5)
  queued_at INTEGER NOT NULL,
  started_at INTEGER,
  ended_at INTEGER
) STRICT;
CREATE UNIQUE INDEX turn_by_key ON turn(idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX turn_open ON turn(id) WHERE state IN ('queued', 'running');
CREATE INDEX turn_by_session ON turn(session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX turn_by_end ON turn(ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX turn_by_event ON turn(event_id) WHERE event_id IS NOT NULL;

-- One row owns one reply: pending → sending → sent | unknown | dead (R3).
CREATE TABLE outbox(
  id INTEGER PRIMARY KEY,
  turn_id INTEGER REFERENCES turn(id),
  channel TEXT NOT NULL,
  conversation TEXT NOT NULL,
  thread TEXT NOT NULL,
  reply_to TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  repeats INTEGER NOT NULL DEFAULT 0,   -- how often its fate was unknown
  platform_id TEXT,
  error TEXT,
  created_at INTEGER NOT NULL,
  ended_at INTEGER
) STRICT;
CREATE INDEX outbox_open ON outbox(channel, conversation, id) WHERE state IN ('pending', 'sending', 'unknown');
CREATE INDEX outbox_dead ON outbox(id) WHERE state = 'dead';
CREATE INDEX outbox_by_turn ON outbox(turn_id) WHERE turn_id IS NOT NULL;
CREATE INDEX outbox_by_end ON outbox(ended_at) WHERE ended_at IS NOT NULL;

-- The run ledger: every incarnation and how it ended.
CREATE TABLE run(
  id INTEGER PRIMARY KEY,
  pid INTEGER NOT NULL,
  process_start INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  unit TEXT NOT NULL,
  version TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  ready_at INTEGER,
  ended_at INTEGER,
  verdict TEXT,                      -- planned | unplanned | crash | replaced | restart | config; NULL: it runs
  cause TEXT,
  evidence TEXT,                     -- JSON
  exit_code INTEGER
) STRICT;

-- Where a channel goes on reading.
CREATE TABLE cursor(
  channel TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY(channel, name)
) STRICT, WITHOUT ROWID;
)sql",
    R"sql(
-- What ended the run as one word (lifecycle/cause_kind.h); how long its phases took, JSON; which run of its unit it was
-- to the service manager, and when that one told us its view of the end.
ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN phases TEXT;
ALTER TABLE run ADD COLUMN invocation_id TEXT NOT NULL DEFAULT '';
ALTER TABLE run ADD COLUMN manager_at INTEGER;
)sql",
    R"sql(
-- Goodbyes of a restart: whoever was told one is told when the gateway is back (store/notices.h).
CREATE TABLE notice(
  outbox_id INTEGER PRIMARY KEY REFERENCES outbox(id) ON DELETE CASCADE
) STRICT;
)sql",
    R"sql(
-- Replies of several platform messages: how many arrived. Replies that are shown while they are written have the state
-- `streaming` and no body yet; `platform_id` is the message that shows them. What goes out with a reply, JSON.
ALTER TABLE outbox ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN attachments TEXT;
CREATE INDEX outbox_streaming ON outbox(turn_id) WHERE state = 'streaming';

-- What is left of an event when its retention is over: enough to recognise it (R1). The first 16 bytes of a SHA-256.
CREATE TABLE seen(
  digest BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE INDEX event_by_time ON event(received_at);
)sql",
};
static_assert(std::size(steps) == schema_version);

Result<std::int64_t> pragma(Database& db, const char* sql) {
  auto statement = db.prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  return statement->integer(0);
}

Result<> apply(Database& db, int from) {
  for (int version = from; version < schema_version; ++version) {
    if (auto ok = db.exec(steps[version]); !ok) return ok;
  }
  return db.exec(
      fmt::format("PRAGMA application_id={}; PRAGMA user_version={};", application_id, schema_version).c_str());
}

}  // namespace

Result<> check_schema(Database& db) {
  const auto id = pragma(db, "PRAGMA application_id");
  if (!id) return std::unexpected(id.error());
  const auto version = pragma(db, "PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  const auto tables = pragma(db, "SELECT count(*) FROM sqlite_schema");
  if (!tables) return std::unexpected(tables.error());

  if (*tables > 0 && *id != application_id) {
    return fail(ErrorKind::invalid, "the database exists but is not Talaria's; move it away, or choose another home");
  }
  if (*version > schema_version) {
    return fail(
        ErrorKind::invalid,
        fmt::format("the store has schema version {}, this program knows {}; install the newer program again, or "
                    "restore the backup that was made before the upgrade",
                    *version, schema_version));
  }
  return {};
}

Result<int> stored_schema_version(Database& db) {
  const auto version = pragma(db, "PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  return static_cast<int>(*version);
}

Result<> migrate(Database& db) {
  if (auto ok = check_schema(db); !ok) return ok;
  const auto version = pragma(db, "PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  if (*version == schema_version) return {};
  if (auto ok = db.exec("BEGIN IMMEDIATE"); !ok) return ok;
  if (auto ok = apply(db, static_cast<int>(*version)); !ok) {
    (void)db.exec("ROLLBACK");
    return ok;
  }
  return db.exec("COMMIT");
}

}  // namespace talaria
