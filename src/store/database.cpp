#include "store/database.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace talaria {

Statement::~Statement() {
  if (stmt_ == nullptr) return;
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}

void Statement::bind_one(int index, std::string_view value) {
  // An empty view may have no address, which SQLite would take for NULL.
  const char* data = value.data() != nullptr ? value.data() : "";
  sqlite3_bind_text64(stmt_, index, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

void Statement::bind_one(int index, Blob value) {
  sqlite3_bind_blob64(stmt_, index, value.bytes.data(), value.bytes.size(), SQLITE_TRANSIENT);
}

Result<bool> Statement::step() {
  switch (sqlite3_step(stmt_)) {
    case SQLITE_ROW: return true;
    case SQLITE_DONE: return false;
    default: return db_->error(sqlite3_sql(stmt_));
  }
}

Result<> Statement::run() {
  auto row = step();
  if (!row) return std::unexpected(row.error());
  return {};
}

std::string Statement::text(int column) const {
  const auto* data = sqlite3_column_text(stmt_, column);
  if (data == nullptr) return {};
  return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  std::unique_ptr<Database> db(new Database(path));
  const int rc =
      sqlite3_open_v2(path.c_str(), &db->db_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  if (rc != SQLITE_OK) return db->error("open the store");
  sqlite3_extended_result_codes(db->db_, 1);
  sqlite3_busy_timeout(db->db_, 2000);
  // A message may be as large as an attachment-free chat allows; nothing legitimate comes near this.
  sqlite3_limit(db->db_, SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024);
  // The log is checkpointed every 1000 pages (4 MiB) and cut to 8 MiB, so that a burst does not leave a large file for
  // ever.
  if (auto ok =
          db->exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cache_size=-1024;"
                   "PRAGMA journal_size_limit=8388608; PRAGMA temp_store=MEMORY;");
      !ok) {
    return std::unexpected(ok.error());
  }
  ::chmod(path.c_str(), 0600);
  return db;
}

Result<std::unique_ptr<Database>> Database::open_to_read(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) return fail_errno(errno, fmt::format("open {}", path));
  std::unique_ptr<Database> db(new Database(path));
  if (sqlite3_open_v2(path.c_str(), &db->db_, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                      nullptr) != SQLITE_OK) {
    return db->error("open the store");
  }
  sqlite3_busy_timeout(db->db_, 2000);
  return db;
}

Database::~Database() {
  for (auto& [sql, stmt] : cache_) sqlite3_finalize(stmt);
  sqlite3_close(db_);
}

Result<Statement> Database::prepare(std::string_view sql) {
  std::string key(sql);
  if (auto found = cache_.find(key); found != cache_.end()) return Statement(*this, found->second);
  sqlite3_stmt* stmt = nullptr;
  if (sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &stmt, nullptr) !=
      SQLITE_OK) {
    return error(key);
  }
  cache_.emplace(std::move(key), stmt);
  return Statement(*this, stmt);
}

Result<> Database::exec(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return error(sql);
  return {};
}

std::unexpected<Error> Database::error(std::string_view tried) const {
  const int code = db_ != nullptr ? sqlite3_extended_errcode(db_) : SQLITE_NOMEM;
  const char* message = db_ != nullptr ? sqlite3_errmsg(db_) : "out of memory";
  ErrorKind kind = ErrorKind::internal;
  std::string remedy;
  switch (code & 0xff) {
    case SQLITE_FULL:
      kind = ErrorKind::unavailable;
      remedy = "; free some space";
      break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM: kind = ErrorKind::unavailable; break;
    case SQLITE_PERM:
    case SQLITE_AUTH: kind = ErrorKind::permission; break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      kind = ErrorKind::invalid;
      remedy = "; move the file away and restore a backup, or let `sqlite3 FILE .recover` save what it can";
      break;
    case SQLITE_CONSTRAINT: kind = ErrorKind::conflict; break;
    case SQLITE_TOOBIG: kind = ErrorKind::limit; break;
    default: break;
  }
  return fail(kind, fmt::format("{}: {} ({}): {}{}", path_, message, sqlite3_errstr(code), tried, remedy));
}

}  // namespace talaria
