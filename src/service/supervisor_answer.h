#pragma once
// What runit, s6 and supervisord say when they are asked whether they want us up or down, as pure functions over the
// bytes. systemd has jobs and D-Bus; these three have less:
//
// runit: runsv(8) keeps `supervise/status`, 20 bytes, in the format of daemontools' supervise: TAI64N of the last
// change,
//   PID (4 bytes, little-endian), paused, the wish 'u' or 'd', "got TERM", state. On `sv down` it writes the wish
//   before it sends SIGTERM; `sv restart` and `sv term` send SIGTERM and leave the wish at 'u'.
// s6: s6-supervise keeps `supervise/status`: two TAI64N, PID (8 bytes, big-endian), from 2.12 on the process group (8),
// the
//   last wait status (2), flags (paused 1, finishing 2, wanted up 4, ready 8). On `s6-svc -d` it writes it right
//   *after* SIGTERM and SIGCONT, so whoever asks at once must ask twice; `s6-svc -r` and `-t` leave "wanted up".
// supervisord: XML-RPC, supervisor.getProcessInfo (http://supervisord.org/api.html). A stop puts the process into state
//   STOPPING (40) before the signal; `supervisorctl signal` leaves it RUNNING. While supervisord itself shuts down it
//   answers with the fault SHUTDOWN_STATE (6).
//
// All three keep a process's PID beside its state; an answer about another PID is none.

#include <string>
#include <string_view>

#include "base/result.h"

namespace talaria {

enum class Wanted { up, down };

struct SupervisorAnswer {
  Wanted wanted = Wanted::up;
  int pid = 0;
  std::string said;  // in its own words: "want down", "STOPPING" …
  std::string via;   // the file or socket that was asked
};

// invalid: not this format.
[[nodiscard]] Result<SupervisorAnswer> parse_runit_status(std::string_view bytes);
[[nodiscard]] Result<SupervisorAnswer> parse_s6_status(std::string_view bytes);
// The PID is 0 in the answer that supervisord is shutting down.
[[nodiscard]] Result<SupervisorAnswer> parse_supervisord_answer(std::string_view xml);

// The XML-RPC call for "group:process".
[[nodiscard]] std::string supervisord_question(std::string_view process);

}  // namespace talaria
