#pragma once
// What the manager saw when a run ended, one JSON object a line in <state>/exits.jsonl. ExecStopPost= writes it, after
// a SIGKILL and a crash too; the next start reads it (lifecycle/run_ledger.h), because a process that was killed can't
// say so itself.

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace talaria {

struct ExitRecord {
  UnixMillis at = 0;
  std::string service_result;  // $SERVICE_RESULT: success, exit-code, signal, core-dump, watchdog, oom-kill, timeout …
  std::string exit_code;       // $EXIT_CODE: exited, killed, dumped
  std::string exit_status;     // $EXIT_STATUS: a number, or a signal's name
  std::int64_t pid = 0;        // of the main process; 0: unknown
  std::string invocation_id;   // $INVOCATION_ID
  std::int64_t oom_kills = 0;  // what the out-of-memory killer took of the unit's cgroup; 0: nothing, or not known
};

inline constexpr std::size_t max_exit_log = 64 * 1024;

// One line with its newline. Texts are cut at 64 bytes and made plain.
[[nodiscard]] std::string format_exit_record(const ExitRecord& record);

// How many processes of this process's own cgroup the out-of-memory killer has taken (memory.events of cgroup v2, Linux
// 4.13); 0 where there is no memory controller.
[[nodiscard]] std::int64_t oom_kills_here();

// Appends one line, which ends in a newline, to <state>/exits.jsonl (mode 0600). A file that would grow above
// max_exit_log first loses its older half. Only a regular file is written to.
[[nodiscard]] Result<> append_exit_line(const std::string& state_directory, std::string_view line);
[[nodiscard]] Result<> append_exit_record(const std::string& state_directory, const ExitRecord& record);

// Takes the older half from a file that has grown above max_exit_log; who appends may not look
// (service/exit_recorder.h).
void keep_exit_log_short(const std::string& state_directory);

}  // namespace talaria
