#pragma once
// The verdict: why this incarnation ends, found from evidence and never from a guess. decide() is a pure function of
// what was observed about one termination signal, so that every row of its table can be tested.
//
// Facts behind it, measured on systemd 252, system and user manager alike: the signal of a stop, a restart and a
// `systemctl kill` comes from the manager's PID, but only stop and restart have a job while it is sent, and only they
// are followed by SIGCONT. A signal from outside our PID namespace has ssi_pid 0 (signalfd(2)): that is how container
// runtimes stop. An init inside a container (tini …) passes the runtime's signal on with its own PID, 1.
//
// runsv, s6-supervise and supervisord send SIGTERM only because somebody told them to; what they can be asked is
// whether they want us up or down afterwards (service/supervisor_answer.h). Down: a stop, exit 0. Up: runit and s6
// can't tell `sv restart` from `sv term`, and start us again after both, so it is a restart, exit 75, which their
// `finish` leaves alone while 0 takes the service down for good; supervisord tells a restart (it stops us first) from a
// mere `supervisorctl signal`, which nobody planned, exit 1. Where they can't be asked, 75 is right whatever they want:
// they heed the exit code only of a process that they want up.

#include <optional>
#include <string>

#include "lifecycle/cause_kind.h"
#include "lifecycle/exit_code.h"
#include "process/announcement.h"
#include "process/identity.h"
#include "service/manager.h"
#include "service/supervisor_answer.h"

namespace talaria {

enum class VerdictKind { planned, unplanned, crash, replaced, restart, upgrade, config };
[[nodiscard]] std::string_view to_string(VerdictKind kind);
[[nodiscard]] std::optional<VerdictKind> parse_verdict_kind(std::string_view text);

// One termination signal and everything that was asked about it.
struct SignalEvidence {
  int signal_number = 0;
  int sender_pid = 0;  // ssi_pid; 0: from outside our PID namespace, or from the kernel
  int sender_uid = -1;
  int code = 0;                        // ssi_code: SI_USER, SI_QUEUE, SI_KERNEL …
  std::optional<ProcessFacts> sender;  // read from /proc when the signal came
  Supervision supervision;
  std::optional<Announcement> announcement;    // valid for this incarnation, consumed
  std::optional<UnitAnswer> manager;           // nullopt: it could not be asked
  std::optional<SupervisorAnswer> supervisor;  // the same of runit, s6 and supervisord
  std::string manager_problem;                 // why not
  bool continued = false;                      // SIGCONT of the same sender came right after
};

struct Verdict {
  VerdictKind kind = VerdictKind::unplanned;
  ExitCode exit_code = ExitCode::unplanned;
  std::string cause;                          // one sentence for people
  CauseKind cause_kind = CauseKind::unknown;  // unknown: what word_of() makes of the verdict
  // A supervisor that reads exit codes wanted us down. It may have changed its mind by the time we end.
  bool wanted_down = false;
};
// The run ledger's word for it.
[[nodiscard]] std::string_view word_of(const Verdict& verdict);

// Does the verdict depend on what the manager says, i.e. is it worth asking?
[[nodiscard]] bool needs_manager(const SignalEvidence& evidence);
[[nodiscard]] Verdict decide(const SignalEvidence& evidence);
// The evidence as a JSON object, for the run ledger. No secret can be in it: command lines are the senders', and short.
[[nodiscard]] std::string evidence_json(const SignalEvidence& evidence);

}  // namespace talaria
