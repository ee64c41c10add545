#include "process/process_group.h"

#include <dirent.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <memory>
#include <string>

#include "process/identity.h"
#include "process/small_file.h"
#include "runtime/event.h"

namespace talaria {

namespace {

constexpr Millis patience_for_group{1'000};
constexpr Millis zombies_suspected{8};

void reap_adopted(pid_t group) {
  siginfo_t info{};
  while (::waitid(P_PGID, static_cast<id_t>(group), &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) info.si_pid = 0;
}

}  // namespace

Task<> await_empty_group(pid_t group) {
  const Deadline end = Deadline::in(patience_for_group);
  Millis pause{1};
  for (reap_adopted(group); group_has_members(group) && !end.expired(); reap_adopted(group)) {
    if (pause >= zombies_suspected && !group_lives(group)) {
      reap_adopted(group);  // it may have died since we looked
      break;
    }
    co_await sleep_for(pause);
    pause *= 2;
  }
}

bool group_has_members(pid_t group) { return ::kill(-group, 0) == 0 || errno != ESRCH; }

bool group_lives(pid_t group) {
  if (!group_has_members(group)) return false;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return true;
  while (const dirent* entry = ::readdir(proc.get())) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const auto text = read_small_file(fmt::format("/proc/{}/stat", entry->d_name), max_proc_stat);
    if (!text) continue;  // gone meanwhile
    const auto facts = parse_proc_stat(*text);
    if (facts && facts->group == group && facts->state != 'Z' && facts->state != 'X') return true;
  }
  return false;
}

}  // namespace talaria
