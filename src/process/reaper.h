#pragma once
// Who waits for which child. A child that nobody waits for stays a zombie for ever, and this process gets such children
// without having started them: it is the subreaper of its descendants (PR_SET_CHILD_SUBREAPER, prctl(2)), so that
// whatever an agent left behind becomes its child, and as PID 1 of a container it gets every orphan there is.
//
// They are reaped when SIGCHLD comes. The children that this program started and waits for are claimed, and an exit
// code that somebody waits for is never taken: reap_unclaimed() looks first (WNOWAIT, waitid(2)) and takes second.

#include <sys/types.h>

#include <mutex>
#include <utility>

#include "base/result.h"

namespace talaria {

// The claim on one child: its exit code is the owner's. Give it up after reaping, or when it is not worth waiting for.
class ChildClaim {
 public:
  ChildClaim() = default;
  ChildClaim(ChildClaim&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildClaim& operator=(ChildClaim&& other) noexcept {
    if (this != &other) {
      release();
      pid_ = std::exchange(other.pid_, -1);
    }
    return *this;
  }
  ChildClaim(const ChildClaim&) = delete;
  ChildClaim& operator=(const ChildClaim&) = delete;
  ~ChildClaim() { release(); }

  void release();
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  friend class ChildStart;
  pid_t pid_ = -1;
};

// Held while a child is started: nothing is reaped in between, however soon it ends. Any thread.
//
//   ChildStart start;
//   const int error = posix_spawn(&pid, …);
//   ChildClaim claim = start.claim(pid);
class ChildStart {
 public:
  ChildStart();
  // Also of a child that an earlier program of this process started (execve(2) keeps children).
  [[nodiscard]] ChildClaim claim(pid_t pid);

 private:
  std::unique_lock<std::mutex> lock_;
};

// Reaps every dead child that nobody has claimed; returns how many. Never waits. One that stands behind a dead child
// with a claim is reaped when that claim is released. Any thread.
int reap_unclaimed();

// From now on orphans among our descendants become our children. Kept by execve(2), not inherited by children.
[[nodiscard]] Result<> adopt_orphans();

}  // namespace talaria
