#pragma once
// The verdict: why this incarnation ends, found from evidence and never from a guess. decide() is a pure function of
// what was observed about one termination signal, so that every row of its table can be tested.
//
// Facts behind it, measured on systemd 252, system and user manager alike: the signal of a stop, a restart and a
// `systemctl kill` comes from the manager's PID, but only stop and restart have a job while it is sent, and only they
// are followed by SIGCONT. A signal from outside our PID namespace has ssi_pid 0 (signalfd(2)): that is how container
// runtimes stop.

#include <optional>
#include <string>

#include "lifecycle/cause_kind.h"
#include "lifecycle/exit_code.h"
#include "process/announcement.h"
#include "process/identity.h"
#include "service/manager.h"

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
  bool from_terminal = false;          // SIGINT or SIGHUP of a controlling terminal (SI_KERNEL)
  Supervision supervision;
  std::optional<Announcement> announcement;  // valid for this incarnation, consumed
  std::optional<UnitAnswer> manager;         // nullopt: it could not be asked
  std::string manager_problem;               // why not
  bool continued = false;                    // SIGCONT of the same sender came right after
};

struct Verdict {
  VerdictKind kind = VerdictKind::unplanned;
  ExitCode exit_code = ExitCode::unplanned;
  std::string cause;                          // one sentence for people
  CauseKind cause_kind = CauseKind::unknown;  // unknown: what word_of() makes of the verdict
};
// The run ledger's word for it.
[[nodiscard]] std::string_view word_of(const Verdict& verdict);

// Does the verdict depend on what the manager says, i.e. is it worth asking?
[[nodiscard]] bool needs_manager(const SignalEvidence& evidence);
[[nodiscard]] Verdict decide(const SignalEvidence& evidence);
// The evidence as a JSON object, for the run ledger. No secret can be in it: command lines are the senders', and short.
[[nodiscard]] std::string evidence_json(const SignalEvidence& evidence);

}  // namespace talaria
