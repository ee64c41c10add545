#pragma once
// Everything that this process has brought into the world and that still lives: children, their children, and orphans
// among them that were handed to us (process/reaper.h). A process can leave its group and its session, ignore SIGTERM
// and close every pipe; it can't leave this list. What the list can't do is stand still: it is read from /proc while
// processes come and go, so whoever wants an empty one looks again until it is.
//
// Limits: a process of another user (a set-user-ID agent) may refuse our signals, and one that forks and dies thousands
// of times a second may never be caught alive. A service manager and the end of a container reach those too.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/event.h"
#include "runtime/task.h"

namespace talaria {

struct Descendant {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot: with the PID, its identity
  char state = '?';              // as in proc(5)
  std::string comm;
};

// Those that live, zombies not counted, in no order. Empty without reading anything when there is no child at all.
[[nodiscard]] Result<std::vector<Descendant>> living_descendants();

// Sends each one the signal through a pidfd, after checking that it is still who it was; returns how many got it. Uses
// one descriptor at a time.
int signal_descendants(const std::vector<Descendant>& who, int signal_number);

// SIGKILL to all that live, again and again until none does or the time is up; blocks. True: none is left. For a thread
// that can't wait for the event loop.
bool kill_descendants(Deadline deadline);

struct DescendantsEnd {
  int found = 0;                   // that lived when we began
  int killed = 0;                  // that SIGTERM did not end within the grace
  int left = 0;                    // that live still at the deadline
  std::vector<std::string> names;  // "sleep (4711)", the first ones of those killed or left
};

// TERM to every descendant, KILL to those that live after `grace`, and to whatever they started meanwhile, until none
// is left or the deadline is there. `hurry`: when set, the grace is over.
Task<DescendantsEnd> end_descendants(Millis grace, Deadline deadline, Event& hurry);

}  // namespace talaria
