#pragma once
// A second gateway of the same profile or home: a unit of the other scope, a unit that an operator wrote, a unit of an
// older version, a process. Two of them take turns at one bot account, or one waits for the other for ever; whoever
// asks how the gateway is shall hear of it (lifecycle.md, P7).
//
// What is looked at: unit files on the managers' own search paths whose ExecStart= runs a gateway, in whichever shape
// people write it; what the managers say of those units; and every process whose command line runs a gateway. A unit
// that is neither enabled nor running is nobody's duplicate.

#include <functional>
#include <string>
#include <vector>

#include "runtime/deadline.h"
#include "service/manager.h"

namespace talaria {

// Whose double is looked for.
struct DuplicateQuestion {
  std::string profile;
  std::string state_directory;
  ManagerKind manager = ManagerKind::systemd_user;  // the scope's
  std::string unit;                                 // its own unit, which is none
  int own_pid = 0;                                  // its process, which is none; 0: does not run
  bool explicit_home = false;  // TALARIA_HOME was given: a profile of the same name elsewhere is another one
};

struct Duplicate {
  std::string kind;   // "unit" | "process"
  std::string scope;  // "user" | "system" | "none" (a process outside of any service)
  std::string user;   // whom it runs as, where that is not the asker
  std::string unit;   // empty: none
  int pid = 0;        // 0: does not run
  std::string state;  // "running", "standby", "starting", "enabled"
  std::string home;   // its state directory; empty: unknown
  bool same_home = false;
  bool replaces = false;  // it runs with --replace
  std::string text;       // one sentence
  std::string remedy;     // a command to type
};

// Blocks for at most about `patience` per manager that is asked; for the command line. What can't be seen (another
// user's manager, a bus that is gone) is passed over.
[[nodiscard]] std::vector<Duplicate> find_duplicates(const DuplicateQuestion& question, Millis patience);

// ---- The parts, for the daemon and for tests.

// Processes only: reads /proc, never waits.
[[nodiscard]] std::vector<Duplicate> find_duplicate_processes(const DuplicateQuestion& question);

// Names of the units in those directories whose file or drop-in has an ExecStart= that may run a gateway. A template
// ("x@.service") is among them by its own name.
[[nodiscard]] std::vector<std::string> gateway_units_in(const std::vector<std::string>& directories);
// Instances of a template that are enabled there: links in *.wants and *.requires.
[[nodiscard]] std::vector<std::string> enabled_instances_in(const std::vector<std::string>& directories,
                                                            const std::string& template_name);

}  // namespace talaria
