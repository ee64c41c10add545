#pragma once
// Recognising what was brought before (R1). An event's row says so while it is kept; when its retention is over, 16
// bytes remain of it, which is all that grows with the number of messages.

#include <string>

#include "base/result.h"
#include "base/time.h"
#include "store/database.h"

namespace talaria {

[[nodiscard]] Result<bool> was_seen(Database& db, const std::string& channel, const std::string& conversation,
                                    const std::string& message_id);
// Replaces at most `limit` events, received before that time and without a turn, by what recognises them. Returns how
// many.
[[nodiscard]] Result<int> retire_events(Database& db, UnixMillis before, int limit);

}  // namespace talaria
