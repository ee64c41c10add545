#include "store/cursor.h"

namespace talaria {

Result<std::string> get_cursor(Database& db, const std::string& channel, const std::string& name) {
  auto statement = db.prepare("SELECT value FROM cursor WHERE channel = ?1 AND name = ?2");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(channel, name);
  auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  return *row ? statement->text(0) : std::string();
}

Result<> put_cursor(Database& db, const std::string& channel, const std::string& name, const std::string& value) {
  auto statement = db.prepare(
      "INSERT INTO cursor(channel, name, value) VALUES (?1, ?2, ?3)"
      " ON CONFLICT(channel, name) DO UPDATE SET value = excluded.value");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(channel, name, value);
  return statement->run();
}

}  // namespace talaria
