#include "process/child_handover.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "process/pidfd.h"

namespace talaria {

ChildInTransit::ChildInTransit(ChildInTransit&& other) noexcept
    : number(other.number),
      pid(std::exchange(other.pid, -1)),
      claim(std::move(other.claim)),
      in(std::move(other.in)),
      out(std::move(other.out)),
      err(std::move(other.err)),
      input(std::move(other.input)),
      output(std::move(other.output)),
      errors(std::move(other.errors)),
      deadline(other.deadline) {}

// Not reaped yet, so the number still is its group's.
ChildInTransit::~ChildInTransit() {
  if (pid <= 0) return;
  ::kill(-pid, SIGKILL);
  const UniqueFd handle(::pidfd_open(pid, 0));
  pollfd entry{handle.get(), POLLIN, 0};
  constexpr int patience_ms = 1'000;
  if (handle) (void)::poll(&entry, 1, patience_ms);
  (void)::waitid(P_PID, static_cast<id_t>(pid), nullptr, WEXITED | WNOHANG);
}

std::vector<ChildInTransit> ChildHandover::take_all() {
  std::vector<ChildInTransit> taken;
  for (auto& [number, child] : children_) taken.push_back(std::move(child));
  children_.clear();
  return taken;
}

std::optional<ChildInTransit> ChildHandover::take(std::int64_t number) {
  const auto found = children_.find(number);
  if (found == children_.end()) return {};
  std::optional<ChildInTransit> child(std::move(found->second));
  children_.erase(found);
  return child;
}

std::vector<std::int64_t> ChildHandover::waiting() const {
  std::vector<std::int64_t> numbers;
  for (const auto& [number, child] : children_) numbers.push_back(number);
  return numbers;
}

int ChildHandover::end_unwanted(const std::vector<std::int64_t>& wanted) {
  return static_cast<int>(std::erase_if(children_, [&](const auto& each) {
    return each.second.deadline.expired() || std::ranges::find(wanted, each.first) == wanted.end();
  }));
}

}  // namespace talaria
