#pragma once
// The crash record: what a process that could not go on wrote about itself into <state>/crash.log, while it died or
// while it was stuck. Lines "key value", then the stacks, then "end"; one record after another. The next start puts the
// newest ones into the run ledger. Whoever can write the file can write anything into it: reading is bounded and
// passes over what is not ours.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "process/identity.h"

namespace talaria {

struct CrashRecord {
  std::string type;  // "signal": it died by one; "stuck": no progress; "stuck-stop": ended by its own guard
  Incarnation who;
  std::string invocation_id;  // may be empty
  std::string version;
  UnixMillis at = 0;
  int signal = 0;
  int code = 0;               // si_code (sigaction(2))
  std::uint64_t address = 0;  // of the fault
  int sender = 0;             // PID of who sent it; 0: the kernel
  int thread = 0;
  std::string thread_name;
  std::string reason;  // what was known, in words; may be empty
  // Of a "stuck-stop": what the run would have told of its end.
  std::string verdict, cause;
  int exit_code = -1;
  std::vector<std::string> stack;  // the last lines, at most max_stack_lines: who writes the record comes last
  bool complete = false;           // its last line is there
};
inline constexpr std::size_t max_stack_lines = 40;
inline constexpr std::string_view crash_log_name = "crash.log";
inline constexpr std::size_t max_crash_log = 256 * 1024;  // what is read; a longer log is cut at the start of a run

// "talaria-crash 1": the first line of a record.
inline constexpr std::string_view crash_mark = "talaria-crash 1";
inline constexpr std::string_view crash_end = "end talaria-crash";

// Oldest first.
[[nodiscard]] std::vector<CrashRecord> parse_crash_log(std::string_view text);

// "SIGSEGV"; "signal 34" where there is no name.
[[nodiscard]] std::string signal_name(int number);
// One line for people: "SIGSEGV at address 0x10 in thread \"store\"", "SIGABRT from PID 1 …".
[[nodiscard]] std::string describe(const CrashRecord& record);

}  // namespace talaria
