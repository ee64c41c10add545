#include "lifecycle/verdict.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <csignal>

namespace talaria {
namespace {

std::string signal_name(int number) {
  const char* name = sigabbrev_np(number);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

bool sent_by_manager(const SignalEvidence& e) {
  return e.supervision.supervised() && e.sender_pid != 0 && e.sender_pid == e.supervision.manager_pid;
}

std::string describe_sender(const SignalEvidence& e) {
  if (e.sender_pid == 0) return "the kernel or a process outside our PID namespace";
  if (!e.sender) return fmt::format("PID {} (user {}, gone already)", e.sender_pid, e.sender_uid);
  return fmt::format("PID {} (user {}, {})", e.sender_pid, e.sender_uid,
                     e.sender->command_line.empty() ? e.sender->comm : e.sender->command_line);
}

Verdict planned(std::string cause) { return {VerdictKind::planned, ExitCode::planned, std::move(cause)}; }
Verdict unplanned(std::string cause) { return {VerdictKind::unplanned, ExitCode::unplanned, std::move(cause)}; }

Verdict decide_managers_signal(const SignalEvidence& e) {
  if (!e.manager) {
    if (e.continued) return planned("the service manager stopped us (it could not be asked, but its SIGCONT followed)");
    return unplanned(fmt::format("{} from the service manager, which could not be asked why ({})",
                                 signal_name(e.signal_number),
                                 e.manager_problem.empty() ? "no answer" : e.manager_problem));
  }
  const UnitAnswer& answer = *e.manager;
  if (answer.result == "oom-kill" || answer.result == "watchdog" || answer.result == "timeout") {
    return unplanned(fmt::format("the service manager ends the unit because of its result \"{}\"", answer.result));
  }
  if (answer.job_type == "stop" || answer.job_type == "restart" || answer.job_type == "try-restart") {
    return planned(fmt::format("a {} job of the service manager", answer.job_type));
  }
  if (answer.system_stopping) return planned("the system is going down");
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

bool needs_manager(const SignalEvidence& e) { return !e.announcement && !e.from_terminal && sent_by_manager(e); }

Verdict decide(const SignalEvidence& e) {
  if (e.announcement) return planned(fmt::format("announced by {}", e.announcement->by));
  if (e.from_terminal) return planned(fmt::format("{} from the terminal", signal_name(e.signal_number)));
  if (sent_by_manager(e)) return decide_managers_signal(e);
  if (e.sender_pid == 0 && e.code != SI_QUEUE) {
    return planned(
        fmt::format("{} from outside our PID namespace (the container runtime)", signal_name(e.signal_number)));
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
  } else if (!e.manager_problem.empty()) {
    json["manager_problem"] = e.manager_problem;
  }
  return boost::json::serialize(json);
}

}  // namespace talaria
