#include "process/reaper.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <set>

namespace talaria {

namespace {

// One for the process, as the list of its children is.
struct Registry {
  std::mutex mutex;
  std::multiset<pid_t> claimed;
  bool blocked = false;  // a dead child with a claim stood before others

  // With the mutex held.
  int reap();
};

Registry& registry() {
  static Registry one;
  return one;
}

// waitid() with P_ALL tells of the first dead child only, the same one again as long as it is not reaped. One that is
// claimed hides those behind it, but not for long: its owner is about to reap it.
int Registry::reap() {
  int reaped = 0;
  blocked = false;
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return reaped;
    if (claimed.contains(info.si_pid)) {
      blocked = true;
      return reaped;
    }
    if (::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG) == 0) ++reaped;
  }
}

}  // namespace

void ChildClaim::release() {
  if (pid_ < 0) return;
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.claimed.erase(all.claimed.find(std::exchange(pid_, -1)));
  if (all.blocked) all.reap();
}

ChildStart::ChildStart() : lock_(registry().mutex) {}

ChildClaim ChildStart::claim(pid_t pid) {
  ChildClaim claim;
  registry().claimed.insert(pid);
  claim.pid_ = pid;
  return claim;
}

int reap_unclaimed() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  return all.reap();
}

Result<> adopt_orphans() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
    return fail_errno(errno, "become the reaper of our descendants");
  return {};
}

}  // namespace talaria
