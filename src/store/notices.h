#pragma once
// Commands of a chat in the journal, and the word that is owed after a restart: who was told "restarting" is told
// "back", exactly once.
//
// The command's event, the goodbye in the outbox and the notice are one transaction; so are, at the next start, the
// hello in the outbox and the end of the notice. Whatever kills the process in between, there is one goodbye and one
// hello, and whoever was told no goodbye is told no hello. The event has no turn: nothing of it is ever done again.

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "store/database.h"
#include "store/journal.h"

namespace talaria {

struct CommandJournalled {
  bool duplicate = false;
  std::int64_t outbox_id = 0;  // of the answer; 0: a duplicate, or skipped
};
// Journals a command and its answer; one that was received before `oldest` is listed as skipped. `owes_return`: the
// answer is the goodbye of a restart.
[[nodiscard]] Result<CommandJournalled> journal_command(Database& db, const EventRow& event, const std::string& command,
                                                        const std::string& answer, bool owes_return, UnixMillis oldest,
                                                        UnixMillis now);

// Queues `hello` for everybody who was told a goodbye, by the way it came, and forgets the notices. A goodbye that will
// never arrive (dead) is followed by nothing. Returns how many are told.
[[nodiscard]] Result<int> tell_return(Database& db, const std::string& hello, UnixMillis now);

}  // namespace talaria
