#pragma once
// What one program hands to the program that takes its process over by execve(2): the process, its PID and its locks
// stay, everything in memory goes. What must survive are open descriptors, which do unless they are close-on-exec, and
// a few facts about them. These are written as JSON into a sealed memfd, whose number stands in one environment
// variable.
//
// Two versions of the program meet here, so the format has a number of its own, and the new program is asked whether it
// understands it before the old one lets go of anything (lifecycle/self_check.h). Whoever can set an environment
// variable can point it anywhere: what is not a sealed memfd that names this very incarnation is not ours, and is left
// alone.

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "process/identity.h"
#include "service/fd_store.h"

namespace talaria {

inline constexpr int handover_format = 1;
inline constexpr const char* handover_variable = "TALARIA_HANDOVER";

struct Handover {
  Incarnation self;          // the process; the same before and after
  std::string from_version;  // of the program that wrote this
  std::string to_version;    // of the one it is meant for
  std::string failure;       // why it is not that one that reads it; empty: it is
  std::int64_t run_id = 0;   // the row of the ledger that was begun for the new program; 0: none
  struct Fd {
    std::string name;  // "lock", "home", "api", "api.connection", … several may share one
    int number = -1;
    friend bool operator==(const Fd&, const Fd&) = default;
  };
  std::vector<Fd> fds;
  // Children of agents that run on. Their descriptors are named "child.TURN.in" and so on; what was read of them and
  // is still to be written are memfds of their own.
  struct Child {
    std::int64_t turn = 0;
    std::int64_t pid = 0;
    std::int64_t deadline_ms = 0;  // CLOCK_MONOTONIC, which goes on
    friend bool operator==(const Child&, const Child&) = default;
  };
  std::vector<Child> children;

  friend bool operator==(const Handover&, const Handover&) = default;
};
[[nodiscard]] std::string format_handover(const Handover& handover);
// Strict: at most 1 MiB, every member there and of its type, numbers from 3 on and no one twice.
[[nodiscard]] Result<Handover> parse_handover(std::string_view text);

// The facts and the descriptors they name.
struct Luggage {
  Handover facts;  // `fds` is filled in by send_handover()
  std::vector<InheritedFd> fds;

  // The first of that name; none: not there.
  [[nodiscard]] UniqueFd take(std::string_view name);
  [[nodiscard]] std::vector<UniqueFd> take_all(std::string_view name);
};

// A text of any length that travels as a descriptor. take_text: empty for none; at most 64 MiB.
[[nodiscard]] Result<UniqueFd> text_as_fd(std::string_view text);
[[nodiscard]] std::string take_text(UniqueFd fd);

// Makes the descriptors survive execve(2) and sets the variable. The caller executes at once, on the only thread, with
// the memfd that is returned still open.
[[nodiscard]] Result<UniqueFd> send_handover(Luggage& luggage);
// The other side, before anything else opens descriptors: close-on-exec again, the variable gone. nullopt: there is
// none. An error: there is one of ours that can't be read.
[[nodiscard]] Result<std::optional<Luggage>> take_handover();

}  // namespace talaria
