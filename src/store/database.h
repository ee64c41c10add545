#pragma once
// A thin RAII layer over SQLite's C interface (https://sqlite.org/c3ref/intro.html). The outbox must control when a
// statement steps and resets, what BUSY and FULL mean and when the log is checkpointed, so nothing is hidden here.
//
//   auto insert = db.prepare("INSERT INTO cursor VALUES (?1, ?2, ?3)");   // compiled once, then cached
//   if (!insert) return std::unexpected(insert.error());
//   insert->bind(channel, name, value);
//   if (auto done = insert->run(); !done) return done;
//
// One thread at a time uses a Database: the store's.

#include <sqlite3.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/result.h"

namespace talaria {

class Database;

// Bytes that are no text, to be bound (copied).
struct Blob {
  std::string_view bytes;
};

// A cached statement in use; resets itself when it goes. Two uses of the same SQL text at a time are a bug.
class Statement {
 public:
  Statement(Statement&& other) noexcept : db_(other.db_), stmt_(std::exchange(other.stmt_, nullptr)) {}
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Binds ?1, ?2, … in order: integers, doubles, text (copied), std::optional and std::nullopt for NULL.
  template <class... Values>
  void bind(const Values&... values) {
    int index = 0;
    (bind_one(++index, values), ...);
  }

  // Next row: true; no more: false.
  [[nodiscard]] Result<bool> step();
  // For statements without rows.
  [[nodiscard]] Result<> run();

  [[nodiscard]] std::int64_t integer(int column) const { return sqlite3_column_int64(stmt_, column); }
  [[nodiscard]] std::string text(int column) const;  // NULL: empty
  [[nodiscard]] bool is_null(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }
  [[nodiscard]] std::optional<std::int64_t> maybe_integer(int column) const {
    if (is_null(column)) return std::nullopt;
    return integer(column);
  }

 private:
  friend class Database;
  Statement(Database& db, sqlite3_stmt* stmt) : db_(&db), stmt_(stmt) {}
  void bind_one(int index, std::string_view value);
  void bind_one(int index, const std::string& value) { bind_one(index, std::string_view(value)); }
  void bind_one(int index, const char* value) { bind_one(index, std::string_view(value)); }
  void bind_one(int index, Blob value);
  void bind_one(int index, std::nullopt_t) { sqlite3_bind_null(stmt_, index); }
  template <std::integral T>
  void bind_one(int index, T value) {
    sqlite3_bind_int64(stmt_, index, static_cast<sqlite3_int64>(value));
  }
  template <class T>
  void bind_one(int index, const std::optional<T>& value) {
    if (value) bind_one(index, *value);
  }

  Database* db_;
  sqlite3_stmt* stmt_;
};

class Database {
 public:
  // Opens or creates the file: WAL, synchronous=FULL (a commit is on disk when it returns), foreign keys on. Nobody
  // else writes (the instance lock says so); a reader such as a backup is waited for up to 2 s.
  [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::string& path);
  // For looking only, beside a gateway or without one. not_found: there is no file.
  [[nodiscard]] static Result<std::unique_ptr<Database>> open_to_read(const std::string& path);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  // One or more statements without rows, not cached.
  [[nodiscard]] Result<> exec(const char* sql);
  [[nodiscard]] std::int64_t last_insert_id() const { return sqlite3_last_insert_rowid(db_); }
  [[nodiscard]] int changes() const { return sqlite3_changes(db_); }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

  // The connection's last error as ours: full disk, read-only and I/O errors are `unavailable` (they may pass).
  [[nodiscard]] std::unexpected<Error> error(std::string_view tried) const;

 private:
  explicit Database(std::string path) : path_(std::move(path)) {}
  std::string path_;
  sqlite3* db_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> cache_;
};

}  // namespace talaria
