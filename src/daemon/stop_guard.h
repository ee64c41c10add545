#pragma once
// The last word on stopping: when the budget is used up although everything was asked to end, a thread of its own ends
// the process with the right exit code, so that a stuck disk or thread never leaves that to the manager's SIGKILL.
// Recovery at the next start makes up for what was cut off.

#include <condition_variable>
#include <mutex>
#include <thread>

#include "runtime/deadline.h"

namespace talaria {

class StopGuard {
 public:
  StopGuard() = default;
  StopGuard(const StopGuard&) = delete;
  StopGuard& operator=(const StopGuard&) = delete;
  ~StopGuard() { disarm(); }

  void arm(Deadline deadline, int exit_code);
  void disarm();

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool disarmed_ = false;
  std::thread thread_;
};

}  // namespace talaria
