#include "service/journal.h"

#include <fmt/format.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <charconv>
#include <memory>

#include "base/text.h"

namespace talaria {
namespace {

struct JournalCloser {
  void operator()(sd_journal* journal) const { sd_journal_close(journal); }
};
using JournalPtr = std::unique_ptr<sd_journal, JournalCloser>;

constexpr std::size_t longest_field = 64 * 1024;

std::string field(sd_journal* journal, const char* name) {
  const void* data = nullptr;
  std::size_t length = 0;
  if (sd_journal_get_data(journal, name, &data, &length) < 0) return {};
  const std::string_view text(static_cast<const char*>(data), length);  // "NAME=value"
  const auto equals = text.find('=');
  return equals == std::string_view::npos ? "" : std::string(text.substr(equals + 1));
}

int number(const std::string& text, int otherwise) {
  int value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

JournalEntry read_entry(sd_journal* journal) {
  JournalEntry entry;
  std::uint64_t usec = 0;
  if (sd_journal_get_realtime_usec(journal, &usec) >= 0) entry.at = static_cast<UnixMillis>(usec / 1000);
  entry.priority = number(field(journal, "PRIORITY"), 6);
  entry.identifier = field(journal, "SYSLOG_IDENTIFIER");
  if (entry.identifier.empty()) entry.identifier = field(journal, "_COMM");
  entry.pid = number(field(journal, "_PID"), 0);
  entry.message = field(journal, "MESSAGE");
  return entry;
}

int match(sd_journal* journal, const std::string& text) {
  return sd_journal_add_match(journal, text.data(), text.size());
}

// What journalctl -u and --user-unit match: what the unit's processes said, or what the manager said of the unit.
int match_unit(sd_journal* journal, const JournalQuery& query) {
  const bool user = query.manager == ManagerKind::systemd_user;
  int r = match(journal, (user ? "_SYSTEMD_USER_UNIT=" : "_SYSTEMD_UNIT=") + query.unit);
  if (r >= 0 && user) r = match(journal, fmt::format("_UID={}", ::geteuid()));
  if (r >= 0) r = sd_journal_add_disjunction(journal);
  if (r >= 0) r = match(journal, (user ? "USER_UNIT=" : "UNIT=") + query.unit);
  if (r >= 0) r = match(journal, user ? fmt::format("_UID={}", ::geteuid()) : std::string("_PID=1"));
  if (r >= 0 && query.max_priority < 7) r = sd_journal_add_conjunction(journal);
  for (int priority = 0; r >= 0 && query.max_priority < 7 && priority <= query.max_priority; ++priority)
    r = match(journal, fmt::format("PRIORITY={}", priority));
  return r;
}

// Steps back from the end, so that the next step forward is the first of the last `n`.
int seek_last(sd_journal* journal, int n) {
  int r = sd_journal_seek_tail(journal);
  if (r < 0) return r;
  // One further than wanted; at the journal's beginning there is nothing further, so begin there.
  r = sd_journal_previous_skip(journal, static_cast<std::uint64_t>(n) + 1);
  if (r < 0) return r;
  return r <= n ? sd_journal_seek_head(journal) : 0;
}

}  // namespace

std::string format_entry(const JournalEntry& entry) {
  const auto who = entry.pid != 0 ? fmt::format("{}[{}]", entry.identifier, entry.pid) : entry.identifier;
  return fmt::format("{} {}: {}", format_rfc3339(entry.at), printable(who), printable(entry.message));
}

Result<> read_journal(const JournalQuery& query, const std::function<bool(const JournalEntry&)>& take,
                      const std::function<bool()>& wanted) {
  sd_journal* raw = nullptr;
  if (const int r = sd_journal_open(&raw, SD_JOURNAL_LOCAL_ONLY); r < 0) return fail_errno(-r, "open the journal");
  const JournalPtr journal(raw);
  (void)sd_journal_set_data_threshold(raw, longest_field);
  if (const int r = match_unit(raw, query); r < 0) return fail_errno(-r, "search the journal");
  if (const int r = seek_last(raw, query.last); r < 0) return fail_errno(-r, "search the journal");
  while (true) {
    int r = 0;
    while ((r = sd_journal_next(raw)) > 0)
      if (!take(read_entry(raw))) return {};
    if (r < 0) return fail_errno(-r, "read the journal");
    if (!query.follow || !wanted()) return {};
    constexpr std::uint64_t quarter_second_usec = 250'000;
    if (r = sd_journal_wait(raw, quarter_second_usec); r < 0) return fail_errno(-r, "wait for the journal");
  }
}

}  // namespace talaria
