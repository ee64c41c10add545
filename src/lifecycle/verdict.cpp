#include "lifecycle/verdict.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <csignal>

#include "lifecycle/crash_record.h"

namespace talaria {
namespace {

bool sent_by_manager(const SignalEvidence& e) {
  return e.supervision.supervised() && e.sender_pid != 0 && e.sender_pid == e.supervision.manager_pid;
}

// Ctrl-C and Ctrl-\ of the controlling terminal. (Its end is a SIGHUP, which asks for a reload.)
bool from_terminal(const SignalEvidence& e) {
  return e.code == SI_KERNEL && (e.signal_number == SIGINT || e.signal_number == SIGQUIT);
}

std::string describe_sender(const SignalEvidence& e) {
  if (e.code == SI_KERNEL) return "the kernel";
  if (e.sender_pid == 0) return "the kernel or a process outside our PID namespace";
  if (!e.sender) return fmt::format("PID {} (user {}, gone already)", e.sender_pid, e.sender_uid);
  return fmt::format("PID {} (user {}, {})", e.sender_pid, e.sender_uid,
                     e.sender->command_line.empty() ? e.sender->comm : e.sender->command_line);
}

Verdict planned(CauseKind kind, std::string cause) {
  return {VerdictKind::planned, ExitCode::planned, std::move(cause), kind};
}
Verdict unplanned(std::string cause, CauseKind kind = CauseKind::kill) {
  return {VerdictKind::unplanned, ExitCode::unplanned, std::move(cause), kind};
}

// The result that makes the manager end a unit.
CauseKind kind_of_result(std::string_view result) {
  if (result == "oom-kill") return CauseKind::oom_kill;
  return result == "watchdog" ? CauseKind::watchdog : CauseKind::time_limit;
}

Verdict restart(std::string cause) {
  return {VerdictKind::restart, ExitCode::again, std::move(cause), CauseKind::restart};
}

bool can_be_asked(ManagerKind kind) { return kind != ManagerKind::container && kind != ManagerKind::launchd; }

Verdict decide_supervisors_signal(const SignalEvidence& e) {
  const auto name = to_string(e.supervision.manager);
  const auto signal = signal_name(e.signal_number);
  if (!can_be_asked(e.supervision.manager)) {
    if (e.supervision.manager == ManagerKind::container)
      return planned(CauseKind::container_stop,
                     fmt::format("{} passed on by the container's init (PID {})", signal, e.sender_pid));
    return planned(CauseKind::stop, fmt::format("{} from {}", signal, name));
  }
  if (!e.supervisor) {
    return {VerdictKind::planned, ExitCode::again,
            fmt::format("{} from {}, which could not be asked whether it wants us up or down ({})", signal, name,
                        e.manager_problem.empty() ? "no answer" : e.manager_problem),
            CauseKind::stop};
  }
  if (e.supervisor->wanted == Wanted::down) {
    auto verdict = planned(CauseKind::stop, fmt::format("{} from {}, which wants the service down", signal, name));
    verdict.wanted_down = true;
    return verdict;
  }
  if (e.supervision.manager == ManagerKind::supervisord)
    return unplanned(fmt::format("{} from supervisord without a stop (supervisorctl signal)", signal));
  return restart(fmt::format("{} from {}, which wants the service up again", signal, name));
}

Verdict decide_managers_signal(const SignalEvidence& e) {
  if (!e.supervision.by_systemd()) return decide_supervisors_signal(e);
  if (!e.manager) {
    if (e.continued)
      return planned(CauseKind::stop,
                     "the service manager stopped us (it could not be asked, but its SIGCONT followed)");
    return unplanned(fmt::format("{} from the service manager, which could not be asked why ({})",
                                 signal_name(e.signal_number),
                                 e.manager_problem.empty() ? "no answer" : e.manager_problem));
  }
  const UnitAnswer& answer = *e.manager;
  if (answer.result == "oom-kill" || answer.result == "watchdog" || answer.result == "timeout") {
    return unplanned(fmt::format("the service manager ends the unit because of its result \"{}\"", answer.result),
                     kind_of_result(answer.result));
  }
  if (answer.job_type == "stop" || answer.job_type == "restart" || answer.job_type == "try-restart") {
    return planned(answer.job_type == "stop" ? CauseKind::stop : CauseKind::restart,
                   fmt::format("a {} job of the service manager", answer.job_type));
  }
  if (answer.system_stopping) return planned(CauseKind::reboot, "the system is going down");
  return unplanned(fmt::format("{} from the service manager without a stop or restart job (systemctl kill)",
                               signal_name(e.signal_number)));
}

}  // namespace

std::string_view to_string(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::planned: return "planned";
    case VerdictKind::unplanned: return "unplanned";
    case VerdictKind::crash: return "crash";
    case VerdictKind::replaced: return "replaced";
    case VerdictKind::restart: return "restart";
    case VerdictKind::upgrade: return "upgrade";
    case VerdictKind::config: return "config";
  }
  return "unplanned";
}

std::optional<VerdictKind> parse_verdict_kind(std::string_view text) {
  for (const VerdictKind kind :
       {VerdictKind::planned, VerdictKind::unplanned, VerdictKind::crash, VerdictKind::replaced, VerdictKind::restart,
        VerdictKind::upgrade, VerdictKind::config}) {
    if (text == to_string(kind)) return kind;
  }
  return std::nullopt;
}

std::string_view word_of(const Verdict& verdict) {
  if (verdict.cause_kind != CauseKind::unknown) return to_string(verdict.cause_kind);
  switch (verdict.exit_code) {
    case ExitCode::permission: return to_string(CauseKind::permission);
    case ExitCode::owned: return to_string(CauseKind::owned);
    default: break;
  }
  switch (verdict.kind) {
    case VerdictKind::planned: return to_string(CauseKind::stop);
    case VerdictKind::unplanned: return to_string(CauseKind::failure);
    case VerdictKind::crash: return to_string(CauseKind::fatal_signal);
    case VerdictKind::replaced: return to_string(CauseKind::replaced);
    case VerdictKind::restart: return to_string(CauseKind::restart);
    case VerdictKind::upgrade: return to_string(CauseKind::upgrade);
    case VerdictKind::config: return to_string(CauseKind::config);
  }
  return "";
}

bool needs_manager(const SignalEvidence& e) {
  return !e.announcement && !from_terminal(e) && sent_by_manager(e) && can_be_asked(e.supervision.manager);
}

Verdict decide(const SignalEvidence& e) {
  if (e.announcement) return planned(CauseKind::stop, fmt::format("announced by {}", e.announcement->by));
  if (from_terminal(e))
    return planned(CauseKind::interrupt, fmt::format("{} from the terminal", signal_name(e.signal_number)));
  if (sent_by_manager(e)) return decide_managers_signal(e);
  if (e.sender_pid == 0 && e.code != SI_QUEUE && e.code != SI_KERNEL) {
    return planned(CauseKind::container_stop, fmt::format("{} from outside our PID namespace (the container runtime)",
                                                          signal_name(e.signal_number)));
  }
  return unplanned(fmt::format("{} from {}", signal_name(e.signal_number), describe_sender(e)));
}

std::string evidence_json(const SignalEvidence& e) {
  boost::json::object json{{"signal", signal_name(e.signal_number)},
                           {"sender_pid", e.sender_pid},
                           {"sender_uid", e.sender_uid},
                           {"code", e.code},
                           {"sent_by_manager", sent_by_manager(e)},
                           {"continued", e.continued}};
  if (e.sender) {
    json["sender_command"] = e.sender->command_line.empty() ? e.sender->comm : e.sender->command_line;
    json["sender_parent"] = e.sender->parent;
  }
  if (e.supervision.supervised()) {
    json["supervisor"] = to_string(e.supervision.manager);
    json["unit"] = e.supervision.unit;
    json["manager_pid"] = e.supervision.manager_pid;
  }
  if (e.announcement) json["announced_by"] = e.announcement->by;
  if (e.manager) {
    json["manager"] = boost::json::object{{"active_state", e.manager->active_state},
                                          {"sub_state", e.manager->sub_state},
                                          {"result", e.manager->result},
                                          {"job", e.manager->job_type},
                                          {"system_stopping", e.manager->system_stopping},
                                          {"via", e.manager->via}};
  } else if (e.supervisor) {
    json["manager"] = boost::json::object{{"wants", e.supervisor->wanted == Wanted::up ? "up" : "down"},
                                          {"said", e.supervisor->said},
                                          {"via", e.supervisor->via}};
  } else if (!e.manager_problem.empty()) {
    json["manager_problem"] = e.manager_problem;
  }
  return boost::json::serialize(json);
}

}  // namespace talaria
