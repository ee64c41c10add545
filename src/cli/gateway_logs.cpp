// `talaria gateway logs`: what the service said, from the journal; or where a gateway outside of a unit writes.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/say.h"
#include "cli/commands.h"
#include "cli/unit_access.h"
#include "process/instance_lock.h"
#include "service/journal.h"
#include "service/units.h"

namespace talaria::cli {
namespace {

// Red for errors, bold for warnings.
const char* paint_of(int priority) { return priority <= 3 ? "\x1b[31m" : priority == 4 ? "\x1b[1m" : ""; }

// A gateway that was started by hand writes to its standard error.
void say_where_else(const ProfilePaths& paths) {
  const auto lock = ask_instance_lock(paths.state_directory);
  if (!lock || !lock->held || !lock->record || is_systemd_scope(lock->record->scope)) return;
  const int pid = lock->record->incarnation.pid;
  std::error_code ignored;
  const auto target = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/2", pid), ignored).string();
  say("PID {} runs this profile outside of a unit; it writes to its standard error{}{}\n", pid,
      target.empty() ? "" : ": ", target);
}

int logs(const Context& context, bool follow, int last) {
  const auto paths = context.paths();
  if (!paths) return report(paths.error());
  say_where_else(*paths);
  const JournalQuery query{
      .manager = manager_of(context.scope()), .unit = unit_name(paths->profile), .last = last, .follow = follow};
  int count = 0;
  const bool coloured = colour();
  const auto reader_is_there = [] { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; };
  const auto read = read_journal(
      query,
      [&](const JournalEntry& entry) {
        const char* paint = coloured ? paint_of(entry.priority) : "";
        fmt::print("{}{}{}\n", paint, format_entry(entry), *paint == '\0' ? "" : "\x1b[0m");
        ++count;
        return std::ferror(stdout) == 0;
      },
      reader_is_there);
  if (!read) return report(read.error());
  if (count == 0) {
    say("talaria: the journal has nothing about {}{}\n", query.unit,
        ::geteuid() == 0 ? "" : ", or nothing that this user may read (group systemd-journal reads all)");
  }
  return 0;
}

}  // namespace

void add_gateway_logs(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("logs", "Show what the service wrote to the journal");
  command->footer("Example:\n  talaria gateway logs -f -n 20");
  auto follow = std::make_shared<bool>(false);
  auto last = std::make_shared<int>(50);
  command->add_flag("-f,--follow", *follow, "Go on with what comes");
  command->add_option("-n,--lines", *last, "How many of the newest lines (default 50)")
      ->check(CLI::Range(0, 1'000'000));
  command->callback([&context, follow, last] { context.exit_code = logs(context, *follow, *last); });
}

}  // namespace talaria::cli
