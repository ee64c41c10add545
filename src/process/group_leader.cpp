#include "process/group_leader.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "process/process_group.h"
#include "runtime/event.h"

namespace talaria {
namespace {

constexpr Millis longest_reap_pause{50};

}  // namespace

void GroupLeader::signal_group(int number) const {
  if (!reaped_) ::kill(-pid_, number);
}

void GroupLeader::reap() {
  if (reaped_) return;
  siginfo_t info{};
  lost_ = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) != 0;
  if (!lost_ && info.si_pid != pid_) return;  // it still runs
  reaped_ = true;
  claim_.release();
  if (lost_) return;
  if (info.si_code == CLD_EXITED)
    end_.exit_code = info.si_status;
  else
    end_.signal = info.si_status;
}

Task<> GroupLeader::reap_dead(Deadline end) {
  Millis pause{1};
  for (reap(); !reaped_ && !end.expired(); reap()) {
    co_await sleep_for(pause);
    pause = std::min(pause * 2, longest_reap_pause);
  }
  if (reaped_) co_await await_empty_group(pid_);
}

}  // namespace talaria
