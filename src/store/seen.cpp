#include "store/seen.h"

#include <fmt/format.h>

#include <vector>

#include "base/sha256.h"

namespace talaria {
namespace {

// Half of a SHA-256 of the triple; a length before each part keeps different triples apart.
std::string digest_of(const std::string& channel, const std::string& conversation, const std::string& message_id) {
  const Sha256 digest = sha256(fmt::format("{}:{} {}:{} {}:{}", channel.size(), channel, conversation.size(),
                                           conversation, message_id.size(), message_id));
  return {digest.begin(), digest.begin() + digest.size() / 2};
}

struct OldEvent {
  std::int64_t id = 0;
  std::string digest;
};

Result<std::vector<OldEvent>> old_events(Database& db, UnixMillis before, int limit) {
  auto statement = db.prepare(
      "SELECT id, channel, conversation, message_id FROM event WHERE received_at < ?1"
      " AND NOT EXISTS (SELECT 1 FROM turn WHERE turn.event_id = event.id) LIMIT ?2");
  if (!statement) return std::unexpected(statement.error());
  statement->bind(before, limit);
  std::vector<OldEvent> events;
  for (;;) {
    auto row = statement->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return events;
    events.push_back({statement->integer(0), digest_of(statement->text(1), statement->text(2), statement->text(3))});
  }
}

}  // namespace

Result<bool> was_seen(Database& db, const std::string& channel, const std::string& conversation,
                      const std::string& message_id) {
  auto statement = db.prepare("SELECT 1 FROM seen WHERE digest = ?1");
  if (!statement) return std::unexpected(statement.error());
  const std::string digest = digest_of(channel, conversation, message_id);
  statement->bind(Blob{digest});
  return statement->step();
}

Result<int> retire_events(Database& db, UnixMillis before, int limit) {
  auto events = old_events(db, before, limit);
  if (!events) return std::unexpected(events.error());
  for (const OldEvent& event : *events) {
    auto note = db.prepare("INSERT INTO seen(digest) VALUES (?1) ON CONFLICT DO NOTHING");
    if (!note) return std::unexpected(note.error());
    note->bind(Blob{event.digest});
    if (auto ok = note->run(); !ok) return std::unexpected(ok.error());
    auto forget = db.prepare("DELETE FROM event WHERE id = ?1");
    if (!forget) return std::unexpected(forget.error());
    forget->bind(event.id);
    if (auto ok = forget->run(); !ok) return std::unexpected(ok.error());
  }
  return static_cast<int>(events->size());
}

}  // namespace talaria
