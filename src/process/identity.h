#pragma once
// Who a process is. A PID alone names nobody: it is recycled, and a zombie still has one. An incarnation is named by
// (boot id, PID, process start time); a process is addressed through a pidfd that is opened first and checked
// afterwards.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace talaria {

struct Incarnation {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot, field 22 of /proc/PID/stat (proc(5))
  std::string boot_id;           // /proc/sys/kernel/random/boot_id

  friend bool operator==(const Incarnation&, const Incarnation&) = default;
};

// "PID:START:BOOTID" ↔ Incarnation, for command lines and files. Parsing is strict.
[[nodiscard]] std::string to_string(const Incarnation& incarnation);
[[nodiscard]] Result<Incarnation> parse_incarnation(std::string_view text);

[[nodiscard]] Result<Incarnation> this_incarnation();
// Of a living (not zombie) process: not_found when there is none.
[[nodiscard]] Result<Incarnation> incarnation_of(pid_t pid);

// What /proc says of a process, for records and messages. Best effort: what can't be read stays empty.
struct ProcessFacts {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  char state = '?';  // R, S, D, T, Z …
  std::uint64_t start_time = 0;
  int uid = -1;
  std::string comm;
  std::string command_line;  // arguments joined by blanks, unprintable bytes escaped, at most 512 bytes
  std::string cgroup;        // path in the unified hierarchy
};
[[nodiscard]] Result<ProcessFacts> facts_of(pid_t pid);
// Parses the text of /proc/PID/stat after its last ')'. For tests and fuzzing.
[[nodiscard]] Result<ProcessFacts> parse_proc_stat(std::string_view text);

// A handle on exactly that incarnation.
class ProcessHandle {
 public:
  // not_found: it has ended, is a zombie, or the PID belongs to another process now.
  [[nodiscard]] static Result<ProcessHandle> open(const Incarnation& incarnation);
  [[nodiscard]] Result<> signal(int signal_number) const;  // pidfd_send_signal(2)
  [[nodiscard]] bool ended() const;                        // a readable pidfd is a dead process, zombie or not
  [[nodiscard]] int fd() const { return fd_.get(); }       // for poll
  // Blocks the calling thread. False: still there after `milliseconds`. For the command line, not for the event loop.
  [[nodiscard]] bool wait_ended(int milliseconds) const;

 private:
  UniqueFd fd_;
};

}  // namespace talaria
