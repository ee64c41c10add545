#pragma once
// The store's schema and its versions (PRAGMA user_version). A database of a newer version is refused: an older program
// would not keep promises it does not know.

#include "base/result.h"
#include "store/database.h"

namespace talaria {

inline constexpr int schema_version = 4;

// The version of a database; 0: it has just been made and is empty.
[[nodiscard]] Result<int> stored_schema_version(Database& db);
// Can this program go on with that database, as it is or after a migration? Reads only. invalid: newer, or not ours.
[[nodiscard]] Result<> check_schema(Database& db);
// Brings an empty or older database to schema_version, all steps in one transaction. invalid: newer, or not ours.
[[nodiscard]] Result<> migrate(Database& db);

}  // namespace talaria
