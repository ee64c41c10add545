#pragma once
// How find_supervision() decides, as pure functions over what it read. No single fact will do, because each alone
// leaks: the environment is inherited by every child, the cgroup is shared by them, and an orphan's parent may be
// systemd too (PID 1 and the user manager adopt orphans). What can't be inherited is the parent, so the parent must
// confirm.

#include <optional>
#include <string>
#include <string_view>

#include "service/manager.h"

namespace talaria {

struct SupervisionFacts {
  int pid = 0;
  int parent_pid = 0;                   // 0: outside our PID namespace
  std::string parent_comm;              // /proc/PPID/comm without its newline
  std::string parent_command;           // /proc/PPID/cmdline, arguments separated by blanks
  bool notify_socket = false;           // NOTIFY_SOCKET is set and not empty
  std::optional<int> systemd_exec_pid;  // SYSTEMD_EXEC_PID: the PID that systemd executed (systemd.exec(5), since 248)
  std::string cgroup;                   // text of /proc/self/cgroup
  // runsv and s6-supervise execute ./run in the service directory (runsv(8), s6-supervise); it is ours as long as run
  // did not change it.
  std::string working_directory;
  // What supervisord passes to its children (http://supervisord.org/subprocess.html).
  std::string supervisor_group;    // SUPERVISOR_GROUP_NAME
  std::string supervisor_process;  // SUPERVISOR_PROCESS_NAME
  std::string supervisor_server;   // SUPERVISOR_SERVER_URL
};

[[nodiscard]] Supervision decide_supervision(const SupervisionFacts& facts);

// The path in the text of /proc/PID/cgroup (cgroups(7)): the unified hierarchy's, or that of "name=systemd" where the
// unified one names no service. " (deleted)" is cut off. Empty: none.
[[nodiscard]] std::string service_cgroup_path(std::string_view cgroup_text);

// The unit that a cgroup path belongs to: its last component that ends in ".service", with the cgroup's "_" prefix
// removed (a name is prefixed when it could be taken for a controller's file). The "\x2d" of a unit's name is part of
// the name and stays. "user@UID.service" is the user manager itself, never one of its units. Empty: none.
[[nodiscard]] std::string unit_of_cgroup_path(std::string_view path);

// Is the path below a user manager ("…/user@1000.service/…")?
[[nodiscard]] bool is_below_user_manager(std::string_view path);

// The small programs that are PID 1 of a container for the sake of one child, to which they pass every signal on.
[[nodiscard]] bool is_container_init(std::string_view comm);

}  // namespace talaria
