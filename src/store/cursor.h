#pragma once
// Where a channel goes on reading: a value of the channel's own making under a name of its own.

#include <string>

#include "base/result.h"
#include "store/database.h"

namespace talaria {

// Empty: never set.
[[nodiscard]] Result<std::string> get_cursor(Database& db, const std::string& channel, const std::string& name);
[[nodiscard]] Result<> put_cursor(Database& db, const std::string& channel, const std::string& name,
                                  const std::string& value);

}  // namespace talaria
