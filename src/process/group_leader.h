#pragma once
// A child of ours that leads a process group: signalling the group and reaping its leader, in the only order that is
// safe.

#include <sys/types.h>

#include "process/reaper.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

struct ChildEnd {
  int exit_code = -1;  // -1: ended by a signal, or its exit code was lost
  int signal = 0;
};

class GroupLeader {
 public:
  // A process in an uninterruptible wait may take longer than anybody waits.
  static constexpr Millis patience_after_kill{5'000};

  GroupLeader(pid_t pid, ChildClaim claim) : pid_(pid), claim_(std::move(claim)) {}

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Does nothing once the leader is reaped: until then nobody else can get the group's number.
  void signal_group(int number) const;
  // If it has ended; else it stays as it is.
  void reap();
  // Tries until `end`, for a leader that has ended: who traces it (strace, a debugger) hears of that first, and until
  // then it is no child of ours to reap. Then waits for the rest of the group (await_empty_group()).
  Task<> reap_dead(Deadline end);
  // Its PID may be somebody else's from here on.
  [[nodiscard]] bool reaped() const { return reaped_; }
  // Somebody else has reaped it.
  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] ChildEnd end() const { return end_; }  // of a leader that is reaped
  // For who reaps it from now on.
  [[nodiscard]] ChildClaim take_claim() { return std::move(claim_); }

 private:
  pid_t pid_;
  ChildClaim claim_;
  bool reaped_ = false;
  bool lost_ = false;
  ChildEnd end_;
};

}  // namespace talaria
