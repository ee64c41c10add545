#pragma once
// What our unit said, read from the journal (sd-journal(3)). For the command line; it blocks.

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "service/manager.h"

namespace talaria {

struct JournalEntry {
  UnixMillis at = 0;
  int priority = 6;        // syslog(3): 3 and below are errors
  std::string identifier;  // "talaria", "systemd"
  int pid = 0;
  std::string message;
};

// "2026-03-01T12:34:56.789Z talaria[4711]: message", without a newline. Control characters are made visible.
[[nodiscard]] std::string format_entry(const JournalEntry& entry);

struct JournalQuery {
  ManagerKind manager = ManagerKind::systemd_user;
  std::string unit;
  int last = 50;         // how many of the newest entries to begin with; oldest of them first
  int max_priority = 7;  // 3: errors only
  bool follow = false;   // goes on with what comes, until `take` or `wanted` says no
};
// Hands over entries of the unit and what its manager said about it; `take` returns false to stop. While following,
// `wanted` is asked at least four times a second whether to go on. permission: the journal can't be read by this user;
// not_found: there is none.
[[nodiscard]] Result<> read_journal(
    const JournalQuery& query, const std::function<bool(const JournalEntry&)>& take,
    const std::function<bool()>& wanted = [] { return true; });

}  // namespace talaria
