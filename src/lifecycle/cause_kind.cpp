#include "lifecycle/cause_kind.h"

namespace talaria {

std::string_view to_string(CauseKind kind) {
  switch (kind) {
    case CauseKind::unknown: return "";
    case CauseKind::stop: return "stop";
    case CauseKind::restart: return "restart";
    case CauseKind::replaced: return "replaced";
    case CauseKind::upgrade: return "upgrade";
    case CauseKind::reboot: return "reboot";
    case CauseKind::interrupt: return "interrupt";
    case CauseKind::container_stop: return "container-stop";
    case CauseKind::kill: return "kill";
    case CauseKind::failure: return "failure";
    case CauseKind::config: return "config";
    case CauseKind::permission: return "permission";
    case CauseKind::owned: return "owned";
    case CauseKind::not_started: return "not-started";
    case CauseKind::sigkill: return "sigkill";
    case CauseKind::oom_kill: return "oom-kill";
    case CauseKind::watchdog: return "watchdog";
    case CauseKind::start_timeout: return "start-timeout";
    case CauseKind::stop_timeout: return "stop-timeout";
    case CauseKind::time_limit: return "time-limit";
    case CauseKind::stuck_stop: return "stuck-stop";
    case CauseKind::fatal_signal: return "fatal-signal";
    case CauseKind::power_cut: return "power-cut";
    case CauseKind::vanished: return "vanished";
  }
  return "";
}

}  // namespace talaria
