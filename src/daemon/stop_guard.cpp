#include "daemon/stop_guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <string_view>
#include <system_error>

#include "base/stack_dump.h"

namespace talaria {

namespace {

constexpr std::string_view too_late = "stopping took longer than its budget";

std::atomic<int> exit_code_of_alarm = 1;

void set_alarm(Millis in) {
  const auto left = std::max(in, Millis{1});
  itimerval timer{};
  timer.it_value.tv_sec = left.count() / 1'000;
  timer.it_value.tv_usec = left.count() % 1'000 * 1'000;
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

void prepare_alarm(int exit_code) {
  exit_code_of_alarm = exit_code;
  struct sigaction action{};
  action.sa_handler = [](int) { ::_exit(exit_code_of_alarm.load()); };
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGALRM, &action, nullptr);
}

void put(int fd, std::string_view text) { (void)!::write(fd, text.data(), text.size()); }

}  // namespace

void StopGuard::arm(Deadline deadline, Plan plan) {
  if (thread_.joinable() || alarm_only_) return set_deadline(deadline);
  plan_ = std::move(plan);
  deadline_ = deadline;
  dump_ = UniqueFd(::memfd_create("talaria-stop-guard", MFD_CLOEXEC));
  prepare_alarm(plan_.exit_code);
  try {
    thread_ = std::thread([this] { watch(); });
  } catch (const std::system_error&) {  // the agents have taken all that there are (TasksMax=)
    alarm_only_ = true;
    set_deadline(deadline);
  }
}

void StopGuard::set_deadline(Deadline deadline) {
  {
    const std::lock_guard lock(mutex_);
    deadline_ = deadline;
  }
  if (alarm_only_) set_alarm(std::chrono::ceil<Millis>(deadline.left()));
  wake_.notify_one();
}

void StopGuard::disarm() {
  {
    const std::lock_guard lock(mutex_);
    disarmed_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (alarm_only_) {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
  }
}

void StopGuard::watch() {
  ::pthread_setname_np(::pthread_self(), "stop guard");
  std::unique_lock lock(mutex_);
  while (!disarmed_) {
    if (deadline_.expired()) {
      lock.unlock();
      end_by_force();
    }
    // A copy: the deadline may be moved while we wait for the old one.
    const auto at = deadline_.at();
    wake_.wait_until(lock, at);
  }
}

// In the order of what matters, since every step may be the one that does not come back.
void StopGuard::end_by_force() {
  set_alarm(plan_.last_act);
  give_evidence(too_late);
  ::_exit(plan_.exit_code);
}

void StopGuard::give_evidence(std::string_view reason) {
  dump_all_threads(dump_.get());
  if (plan_.end_children) plan_.end_children();
  pollfd standard_error{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&standard_error, 1, 0) > 0) {
    put(STDERR_FILENO, "talaria: ");
    put(STDERR_FILENO, reason);
    put(STDERR_FILENO, "; ending now, the next start recovers. What each thread is doing:\n");
    copy_dump(dump_.get(), STDERR_FILENO);
  }
  if (plan_.record_file.empty()) return;
  const UniqueFd file(
      ::open(plan_.record_file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!file) return;
  std::array<char, 64> at{};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  (void)std::snprintf(at.data(), at.size(), "at %lld\nreason ",
                      static_cast<long long>(now.tv_sec) * 1'000 + now.tv_nsec / 1'000'000);
  put(file.get(), plan_.record);
  put(file.get(), at.data());
  put(file.get(), reason);
  put(file.get(), "\nstacks\n");
  copy_dump(dump_.get(), file.get());
  put(file.get(), "end talaria-crash\n");
}

}  // namespace talaria
