// How many pairs of eyes does it take to end a family? One scan sees a moment. Two races follow from that:
//
// - A process forks between the scan and our signal: the child was not seen. So we look again until a scan is empty.
// - Processes fork faster than we scan and kill (a fork bomb). SIGKILL one by one never catches up, because every
// victim
//   makes room for the next. So when a scan after SIGKILL shows new faces, all are stopped first (SIGSTOP): a stopped
//   process forks no more, the number of running ones shrinks with each scan, and at last the whole crowd stands still
//   and is killed.

#include "process/descendants.h"

#include <dirent.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <thread>
#include <unordered_map>

#include "base/fd.h"
#include "base/text.h"
#include "process/identity.h"
#include "process/pidfd.h"
#include "process/reaper.h"
#include "process/small_file.h"

namespace talaria {

namespace {

constexpr std::size_t names_kept = 8;
constexpr Millis first_pause{2};
constexpr Millis longest_pause{50};

bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

using Key = std::pair<pid_t, std::uint64_t>;
Key key_of(const Descendant& process) { return {process.pid, process.start_time}; }

Result<ProcessFacts> stat_of(pid_t pid) {
  const auto text = read_small_file(fmt::format("/proc/{}/stat", pid), max_proc_stat);
  if (!text) return std::unexpected(text.error());
  return parse_proc_stat(*text);
}

// A pidfd on exactly that process, or none: it is opened first and checked second.
UniqueFd open_checked(const Descendant& process) {
  UniqueFd fd(::pidfd_open(process.pid, 0));
  if (!fd) return {};
  const auto facts = stat_of(process.pid);
  return facts && facts->start_time == process.start_time ? std::move(fd) : UniqueFd();
}

// The first thread of a process may have ended (state Z) while others live on. A pidfd is readable when all have
// (pidfd_open(2)). For zombies only, so that it costs little.
bool is_dead(const ProcessFacts& facts) {
  if (facts.state == 'X') return true;
  if (facts.state != 'Z') return false;
  const UniqueFd fd(::pidfd_open(facts.pid, 0));
  pollfd entry{fd.get(), POLLIN, 0};
  return !fd || ::poll(&entry, 1, 0) != 0;
}

// Parent → children, of everything that /proc shows.
Result<std::unordered_multimap<pid_t, ProcessFacts>> family_tree() {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return fail_errno(errno, "open /proc");
  std::unordered_multimap<pid_t, ProcessFacts> tree;
  while (const dirent* entry = ::readdir(proc.get())) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    auto text = read_small_file(fmt::format("/proc/{}/stat", entry->d_name), max_proc_stat);
    if (!text) continue;  // gone meanwhile
    if (auto facts = parse_proc_stat(*text)) tree.emplace(facts->parent, std::move(*facts));
  }
  return tree;
}

// TERM also wakes those that are stopped: they would not see it.
void ask_to_end(const std::vector<Descendant>& who) {
  signal_descendants(who, SIGTERM);
  signal_descendants(who, SIGCONT);
}

// One round of killing. `known`: who was there in the round before.
void kill_round(const std::vector<Descendant>& alive, std::set<Key>& known) {
  const bool new_faces = std::ranges::any_of(alive, [&](const auto& one) { return !known.contains(key_of(one)); });
  const bool first = known.empty();
  known.clear();
  for (const auto& one : alive) known.insert(key_of(one));
  const bool they_multiply = new_faces && !first;
  signal_descendants(alive, they_multiply ? SIGSTOP : SIGKILL);
}

}  // namespace

Result<std::vector<Descendant>> living_descendants() {
  std::vector<Descendant> found;
  if (!has_children()) return found;
  const auto tree = family_tree();
  if (!tree) return std::unexpected(tree.error());
  std::vector<pid_t> parents{::getpid()};
  std::set<pid_t> seen(parents.begin(), parents.end());  // the scan is no snapshot: a recycled PID might close a circle
  while (!parents.empty()) {
    const auto [begin, end] = tree->equal_range(parents.back());
    parents.pop_back();
    for (auto child = begin; child != end; ++child) {
      const ProcessFacts& facts = child->second;
      if (!seen.insert(facts.pid).second) continue;
      parents.push_back(facts.pid);
      if (!is_dead(facts)) found.push_back({facts.pid, facts.start_time, facts.state, printable(facts.comm)});
    }
  }
  return found;
}

int signal_descendants(const std::vector<Descendant>& who, int signal_number) {
  int reached = 0;
  for (const auto& process : who) {
    const UniqueFd fd = open_checked(process);
    if (fd && ::pidfd_send_signal(fd.get(), signal_number, nullptr, 0) == 0) ++reached;
  }
  return reached;
}

bool kill_descendants(Deadline deadline) {
  std::set<Key> known;
  for (Millis pause = first_pause;; pause = std::min(pause * 2, longest_pause)) {
    reap_unclaimed();
    const auto alive = living_descendants();
    if (alive && alive->empty()) return true;
    if (alive) kill_round(*alive, known);
    if (deadline.expired()) return false;
    std::this_thread::sleep_for(pause);
  }
}

Task<DescendantsEnd> end_descendants(Millis grace, Deadline deadline, Event& hurry) {
  DescendantsEnd end;
  const Deadline patience = Deadline::in(grace).earlier(deadline);
  std::set<Key> asked;
  std::set<Key> known;
  bool killing = false;
  for (Millis pause = first_pause;; pause = std::min(pause * 2, longest_pause)) {
    reap_unclaimed();
    auto alive = living_descendants();
    if (alive && alive->empty()) co_return end;
    if (alive && !killing && (patience.expired() || hurry.is_set())) {
      killing = true;
      pause = first_pause;
      end.killed = static_cast<int>(alive->size());
      for (const auto& one : *alive)
        if (end.names.size() < names_kept) end.names.push_back(fmt::format("{} ({})", one.comm, one.pid));
    }
    if (alive && killing) {
      kill_round(*alive, known);
    } else if (alive) {
      std::erase_if(*alive, [&](const auto& one) { return !asked.insert(key_of(one)).second; });
      if (end.found == 0) end.found = static_cast<int>(alive->size());
      ask_to_end(*alive);
    }
    if (deadline.expired()) {
      const auto left = living_descendants();
      end.left = left ? static_cast<int>(left->size()) : 1;
      co_return end;
    }
    const Deadline next = Deadline::in(pause).earlier(deadline);
    if (killing)
      co_await sleep_until(next);
    else
      co_await hurry.wait(next.earlier(patience));
  }
}

}  // namespace talaria
