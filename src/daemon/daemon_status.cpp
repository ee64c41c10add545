// What the daemon says of itself, and what it does when asked at the control socket.
#include <fmt/format.h>

#include "base/version.h"
#include "daemon/daemon.h"
#include "daemon/reload_report.h"
#include "runtime/log.h"

namespace talaria {
namespace json = boost::json;

DaemonView Daemon::view() {
  return {.state = [this] { return to_string(life_.state()); },
          .ready = [this] { return ready(); },
          .status = [this] { return status(); }};
}

ControlActions Daemon::control_actions() {
  return {.announce = [this](const std::string& target, const std::string& by) { return desk_.announce(target, by); },
          .stop =
              [this](const std::string& by) {
                json::object evidence{{"asked_by", by}};
                end_.ask({{VerdictKind::planned, ExitCode::planned, fmt::format("asked to stop by {}", by)},
                          json::serialize(evidence)});
                return self_;
              },
          .restart = [this](const std::string& by) -> Result<> {
            ask_restart(by);
            return {};
          },
          .start =
              [this](const std::string& by) {
                if (life_.state() == LifeState::backing_off) log::info("not waiting any longer: {} asked for it", by);
                start_now_.set();
              },
          .leave = [this](const std::string& target, const std::string& by) { return leave(target, by); },
          .upgrade = [this](const std::string& program, const std::string& by) { return upgrade(program, by); },
          .reload = [this](std::string by) { return reload(std::move(by)); },
          .check_restart = [this] { return describe_check(check_restart()); }};
}

Result<> Daemon::leave(const std::string& target, const std::string& by) {
  auto meant = parse_incarnation(target);
  if (!meant) return std::unexpected(meant.error());
  if (*meant != self_) return fail(ErrorKind::invalid, "that is another incarnation");
  if (supervision_.supervised())
    return fail(ErrorKind::conflict,
                fmt::format("this gateway is run by {} {}", to_string(supervision_.manager),
                            supervision_.by_systemd() ? "service " + supervision_.unit : supervision_.unit));
  if (end_.asked()) return {};  // it leaves already, and nobody asked it to hurry
  json::object evidence{{"asked_by", by}};
  end_.ask({{VerdictKind::replaced, ExitCode::planned, fmt::format("replaced by {}", by)}, json::serialize(evidence)});
  return {};
}

json::object Daemon::status() const {
  json::array channels;
  json::object queues{{"inbound", 0}, {"turns", 0}, {"outbox", 0}, {"dead", 0}};
  if (gateway_) {
    for (const ChannelReport& channel : gateway_->channels()) {
      json::object row{{"name", channel.name},
                       {"kind", channel.kind},
                       {"state", to_string(channel.health.state)},
                       {"last_progress", nullptr},
                       {"error", nullptr}};
      if (channel.health.last_progress) row["last_progress"] = format_rfc3339(*channel.health.last_progress);
      if (!channel.health.error.empty()) row["error"] = channel.health.error;
      channels.push_back(std::move(row));
    }
    const QueueDepths d = gateway_->depths();
    queues = {{"inbound", d.inbound}, {"turns", d.turns}, {"outbox", d.outbox}, {"dead", d.dead}};
  }
  json::object status{{"state", to_string(life_.state())},
                      {"detail", life_.detail()},
                      {"ready", ready()},
                      {"profile", options_.paths.profile},
                      {"scope", to_string(options_.scope)},
                      {"manager", to_string(supervision_.manager)},
                      {"unit", nullptr},
                      {"pid", self_.pid},
                      {"start_time", self_.start_time},
                      {"since", format_rfc3339(started_at_)},
                      {"version", program_version()},
                      {"home", options_.paths.state_directory},
                      {"api", nullptr},
                      {"standby_for", nullptr},
                      {"backoff_until", nullptr},
                      {"channels", std::move(channels)},
                      {"queues", std::move(queues)},
                      {"last_end", nullptr},
                      {"upgrade", nullptr},
                      {"duplicates", json::array{}},
                      {"warnings", warnings()}};
  if (!supervision_.unit.empty()) status["unit"] = supervision_.unit;
  if (!api_address_.empty()) status["api"] = api_address_;
  if (life_.state() == LifeState::backing_off) status["backoff_until"] = format_rfc3339(backoff_until_);
  if (luggage_) {
    const Handover& facts = luggage_->facts;
    status["upgrade"] = {{"from", facts.from_version}, {"to", facts.to_version}, {"failure", facts.failure}};
    if (!facts.failure.empty())
      status["warnings"].as_array().push_back(
          json::string(fmt::format("upgrade to {} failed: {}", facts.to_version, facts.failure)));
  }
  if (!standby_for_.empty()) status["standby_for"] = standby_for_;
  if (watch_) {
    for (const std::string& warning : watch_->warnings())
      status["warnings"].as_array().push_back(json::string(warning));
  }
  if (last_end_) {
    json::object end;
    for (const char* key : {"verdict", "cause", "evidence", "exit_code", "at"}) end[key] = last_end_->at(key);
    status["last_end"] = std::move(end);
  }
  return status;
}

}  // namespace talaria
