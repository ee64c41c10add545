#include "daemon/stop_guard.h"

#include <unistd.h>

#include <string_view>

namespace talaria {

void StopGuard::arm(Deadline deadline, int exit_code) {
  if (thread_.joinable()) return;
  thread_ = std::thread([this, deadline, exit_code] {
    std::unique_lock lock(mutex_);
    if (wake_.wait_until(lock, deadline.at(), [this] { return disarmed_; })) return;
    constexpr std::string_view words =
        "talaria: stopping took longer than its budget; ending now, the next start recovers\n";
    (void)!::write(STDERR_FILENO, words.data(), words.size());
    ::_exit(exit_code);
  });
}

void StopGuard::disarm() {
  {
    const std::lock_guard lock(mutex_);
    disarmed_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

}  // namespace talaria
