#include "store/notices.h"

#include "store/outbox.h"

namespace talaria {

Result<CommandJournalled> journal_command(Database& db, const EventRow& event, const std::string& command,
                                          const std::string& answer, bool owes_return, UnixMillis oldest,
                                          UnixMillis now) {
  const bool too_old = event.received_at < oldest;
  auto inserted = insert_event(db, event, too_old ? "older than gateway.max_backlog_age" : "command " + command);
  if (!inserted) return std::unexpected(inserted.error());
  if (!*inserted) return CommandJournalled{.duplicate = true};
  if (too_old) return CommandJournalled{};
  auto reply = queue_reply(db, event.route, answer, now);
  if (!reply) return std::unexpected(reply.error());
  if (owes_return) {
    auto notice = db.prepare("INSERT INTO notice(outbox_id) VALUES (?1)");
    if (!notice) return std::unexpected(notice.error());
    notice->bind(*reply);
    if (auto ok = notice->run(); !ok) return std::unexpected(ok.error());
  }
  return CommandJournalled{.duplicate = false, .outbox_id = *reply};
}

Result<int> tell_return(Database& db, const std::string& hello, UnixMillis now) {
  auto tell = db.prepare(
      "INSERT INTO outbox(channel, conversation, thread, reply_to, body, state, created_at)"
      " SELECT channel, conversation, thread, reply_to, ?1, 'pending', ?2 FROM notice"
      " JOIN outbox ON outbox.id = notice.outbox_id WHERE outbox.state <> 'dead' ORDER BY outbox.id");
  if (!tell) return std::unexpected(tell.error());
  tell->bind(hello, now);
  if (auto ok = tell->run(); !ok) return std::unexpected(ok.error());
  const int told = db.changes();
  auto forget = db.prepare("DELETE FROM notice");
  if (!forget) return std::unexpected(forget.error());
  if (auto ok = forget->run(); !ok) return std::unexpected(ok.error());
  return told;
}

}  // namespace talaria
