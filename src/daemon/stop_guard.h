#pragma once
// The last word on stopping: when the budget is used up although everything was asked to end, a thread of its own ends
// the process with the right exit code, so that a stuck disk or thread never leaves that to the manager's SIGKILL. What
// every thread was doing goes to standard error and, with how the run was to end, into a record that the next start
// reads (crash.log). Recovery at the next start makes up for what was cut off.
//
// The guard may get stuck itself: on the disk that holds the record, on a terminal that is stopped. So it does what
// matters first, and an alarm (setitimer(2)) ends the process if it does not come to its own end. Where no thread can
// be had, the alarm is all there is.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "runtime/deadline.h"

namespace talaria {

class StopGuard {
 public:
  struct Plan {
    int exit_code = 1;
    std::string record_file;             // empty: none is written
    std::string record;                  // its lines up to the reason; see stop_record()
    Millis last_act{2'000};              // how long the end by force may take
    std::function<void()> end_children;  // bounded by itself to half of last_act
  };

  StopGuard() = default;
  StopGuard(const StopGuard&) = delete;
  StopGuard& operator=(const StopGuard&) = delete;
  ~StopGuard() { disarm(); }

  // Call once. `deadline` may be moved, to and fro.
  void arm(Deadline deadline, Plan plan);
  void set_deadline(Deadline deadline);
  void disarm();

  // Writes what the guard would write, and comes back.
  void give_evidence(std::string_view reason);

 private:
  void watch();
  void end_by_force();

  Plan plan_;
  UniqueFd dump_;  // a memfd, so that the dump exists before anything is written that may block
  std::mutex mutex_;
  std::condition_variable wake_;
  Deadline deadline_ = Deadline::never();
  bool disarmed_ = false;
  bool alarm_only_ = false;
  std::thread thread_;
};

}  // namespace talaria
