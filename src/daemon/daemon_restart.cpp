// A restart that is asked for from inside: at the control socket, or with /restart in a chat.
#include <fmt/format.h>

#include "daemon/daemon.h"
#include "runtime/log.h"

namespace talaria {
namespace {

// The goodbye's time to leave. A channel that is down must not keep the restart from happening; the goodbye then leaves
// after it, before the hello.
constexpr Millis goodbye_time{3'000};

}  // namespace

// As far as it can be known here: under a manager the next process may be given another environment.
LoadOutcome Daemon::check_restart() const {
  LoadOutcome checked = load_config_file(options_.paths.config_file);
  if (!checked.ok()) return checked;
  (void)resolve_secrets(checked, options_.paths.config_file,
                        supervision_.starts_us_again() ? SecretsFor::fresh_start : SecretsFor::running);
  return checked;
}

void Daemon::ask_restart(const std::string& by) {
  const boost::json::object evidence{{"asked_by", by}};
  end_.ask({{VerdictKind::restart, ExitCode::again, fmt::format("asked to restart by {}", by)},
            boost::json::serialize(evidence),
            !supervision_.starts_us_again()});
}

CommandDesk Daemon::command_desk() {
  return {.may_restart = [this]() -> Result<> {
            const auto comes_back = [](const End& end) {
              return end.verdict.kind == VerdictKind::restart || end.verdict.kind == VerdictKind::upgrade;
            };
            if (end_.asked() && !comes_back(end_.end())) return fail(ErrorKind::conflict, "the gateway is stopping");
            const LoadOutcome checked = check_restart();
            if (checked.ok()) return {};
            for (const Diagnostic& mistake : checked.diagnostics) log::warning("{}", to_string(mistake));
            return fail(ErrorKind::invalid, "the configuration is wrong");
          },
          .restart =
              [this](const std::string& by, std::int64_t goodbye) {
                // However many ask, and while one is under way: a second request would only cut the drain short.
                if (end_.asked() || std::exchange(restart_asked_, true)) return;
                tasks_.spawn("restart", restart_after(by, goodbye));
              }};
}

Task<> Daemon::restart_after(std::string by, std::int64_t goodbye) {
  (void)co_await gateway_->wait_delivered(goodbye, Deadline::in(goodbye_time));
  if (!end_.asked()) ask_restart(by);
}

}  // namespace talaria
