#pragma once
// The last act of a program that makes room for another one in its own process: execve(2). PID, locks, listening
// sockets and clients' connections stay; everything else was closed and written down before. What can still fail here
// must not end the service: then the old program is executed again, with the same luggage and the reason.

#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "lifecycle/handover.h"
#include "lifecycle/verdict.h"
#include "process/child_handover.h"

namespace talaria {

// A program as it was when it was looked at: path and file.
struct Program {
  std::string path;     // empty: the one that runs, whatever stands at its path now
  std::string version;  // what it said of itself
  struct stat file{};
};
// not_found, permission, invalid (no regular file): there is nothing to execute at `path`.
[[nodiscard]] Result<Program> look_at_program(const std::string& path);
// Where the program that runs was installed (proc(5), /proc/PID/exe); there may be another file by now.
[[nodiscard]] Result<std::string> own_program();

struct Departure {
  Program program;
  Luggage luggage;
  std::vector<ChildInTransit> children;                          // alive as long as this is
  std::vector<std::pair<std::string, std::string>> environment;  // of the manager's, taken away at the start
};

// Executes it with our own arguments. Returns only when that fails, with the exit code; standard error has the reason.
[[nodiscard]] int depart(Departure departure);

// The other side, where the program that goes on can't (its configuration is wrong): processes of agents that were to
// go on end with it (TERM, after 2 s KILL; blocks), and the run that was begun for it gets this end.
void give_up(const Luggage& luggage, const std::string& state_directory, const Verdict& verdict);

}  // namespace talaria
