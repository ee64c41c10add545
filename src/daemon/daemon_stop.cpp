// The way out: drain, record, close, each bounded; the whole by the StopGuard.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "base/version.h"
#include "daemon/daemon.h"
#include "lifecycle/manager_exit.h"
#include "runtime/log.h"
#include "service/exit_record.h"
#include "store/journal.h"
#include "store/runs.h"

namespace talaria {
namespace {

// What stopping may take beyond the drain: deliveries, agents, the store.
constexpr Millis stop_margin{15'000};

}  // namespace

Task<GatewayExit> Daemon::stop() {
  const End& end = end_.end();
  if (final_error_) {
    fmt::print(stderr, "talaria: {}\n", final_error_->what);
  } else {
    log::info("ending ({}): {}", to_string(end.verdict.kind), end.verdict.cause);
  }
  const Deadline drain = Deadline::in(config_.gateway.drain_timeout);
  stop_guard_.arm(Deadline::in(config_.gateway.drain_timeout + stop_margin), static_cast<int>(end.verdict.exit_code));
  phases_.enter("drain");
  if (end.execute_again && lock_) {
    life_.enter_changing(end.verdict.cause);
    co_await finish_exchanges(drain);
    // What command agents still run needs not be waited for: it goes on in the next program.
    if (end.execute_again) children_->ask();
  }
  bool departs = end.execute_again && lock_;
  if (!departs) co_await let_nobody_in(end);
  bool clean = true;
  if (gateway_) {
    TaskGroup impatience(executor_);
    impatience.spawn("second signal", [](Event& again, Gateway& gateway) -> Task<> {
      co_await again.wait();
      gateway.cut_drain_short();
    }(end_.impatient(), *gateway_));
    const auto drained = co_await gateway_->drain(drain);
    clean = drained.clean;
    cut_off_ = drained.cut_off;
    if (drained.cut_off > 0) {
      log::warning("{} running turns were cut off; the next start runs them again", drained.cut_off);
    }
    co_await impatience.stop();
  }
  phases_.enter("connections");
  const Deadline closing = Deadline::in(std::chrono::seconds(5));
  if (api_server_) clean = co_await api_server_->stop(closing) && clean;
  // A stop that came meanwhile has taken the place of the change of programs.
  if (departs) co_await signals_.judged(Deadline::in(std::chrono::seconds(1)));
  if (departs && !end.execute_again) {
    departs = false;
    (void)children_->take_all();  // there is no next program for them
    co_await let_nobody_in(end);
  }
  if (departs) children_in_transit_ = children_->take_all();
  co_await record_end(end, departs, Deadline::in(std::chrono::seconds(5)));
  watch_->end();  // from here on the loop may wait for a thread
  clean = co_await tasks_.stop(closing) && clean;
  if (control_server_ && departs) co_await finish_control();
  if (control_server_) clean = co_await control_server_->stop(Deadline::in(std::chrono::seconds(1))) && clean;
  if (departs && !end.execute_again) {  // at the very last moment; the run that was begun for the next program ends
    departs = false;
    run_id_ = next_run_id_;
    children_in_transit_.clear();  // which ends them
    co_await let_nobody_in(end);
    co_await record_end(end, departs, Deadline::in(std::chrono::seconds(1)));
  }
  const int code = static_cast<int>(end.verdict.exit_code);
  if (clean) {
    gateway_.reset();
    store_.reset();
  } else {
    log::error("a task did not end in time; leaving it behind, the next start recovers");
  }
  if (lock_ && !departs) ::unlink(options_.paths.control_socket().c_str());
  if (!final_error_) log::info("ended with exit code {}", code);
  GatewayExit exit{.code = code, .departure = {}, .left_tasks = !clean};
  if (departs) exit.departure = pack();
  co_return exit;
}

Task<> Daemon::let_nobody_in(const End& end) {
  life_.enter_draining(end.verdict.cause);
  // First: whoever comes while we ask the manager waits in the backlog instead of being told that we drain.
  if (api_server_) api_server_->stop_accepting();
  co_await settle_listeners(end);
}

// Whoever connects from now on waits for a successor, or is refused at once where none will come.
Task<> Daemon::settle_listeners(const End& end) {
  bool successor = end.verdict.kind == VerdictKind::unplanned || end.verdict.kind == VerdictKind::restart;
  if (end.verdict.kind == VerdictKind::planned && supervision_.supervised()) {
    // An announcement comes from ExecStop=, which a restart runs too: only the manager knows which one it is.
    const auto answer =
        co_await ask_unit(supervision_.manager, supervision_.unit, Deadline::in(std::chrono::milliseconds(250)));
    successor = !answer || answer->job_type.ends_with("restart");
    if (answer) manager_job_ = answer->system_stopping ? "shutdown" : answer->job_type;
  }
  if (successor && notifier_.active()) {
    listeners_.leave_to_manager();
  } else {
    listeners_.close_for_good();
  }
}

RunEnd Daemon::run_end(const End& end) const {
  boost::system::error_code ec;
  boost::json::value evidence = boost::json::parse(end.evidence.empty() ? "{}" : end.evidence, ec);
  if (ec || !evidence.is_object()) evidence = boost::json::object{};
  if (cut_off_ > 0) evidence.as_object()["cut_off"] = boost::json::object{{"turns", cut_off_}};
  std::string_view kind = word_of(end.verdict);
  // ExecStop= announces every stop; which kind it is, only the manager knows.
  if (end.verdict.kind == VerdictKind::planned && end.verdict.cause_kind == CauseKind::stop && !manager_job_.empty()) {
    evidence.as_object()["job"] = manager_job_;
    if (manager_job_ == "shutdown") kind = to_string(CauseKind::reboot);
    if (manager_job_.ends_with("restart")) kind = to_string(CauseKind::restart);
  }
  return {.verdict = std::string(to_string(end.verdict.kind)),
          .kind = std::string(kind),
          .cause = end.verdict.cause,
          .evidence = boost::json::serialize(evidence),
          .phases = phases_.json(),
          .exit_code = static_cast<int>(end.verdict.exit_code),
          .at = clock_.now()};
}

Task<> Daemon::record_end(const End& end, bool departs, Deadline deadline) {
  const RunEnd ended = run_end(end);
  if (!store_ || run_id_ == 0) {
    tell_end_without_store(ended);
    co_return;
  }
  while (!deadline.expired()) {
    auto written = co_await store_->write([&](Database& db) -> Result<std::int64_t> {
      if (auto ok = end_run(db, run_id_, ended); !ok) return std::unexpected(ok.error());
      if (!departs) return 0;
      std::vector<std::int64_t> handed_over;
      for (const ChildInTransit& child : children_in_transit_) handed_over.push_back(child.number);
      if (auto ok = hand_over_turns(db, handed_over); !ok) return std::unexpected(ok.error());
      // The next run begins here and now, so that it has an end even if its program never comes to open the store.
      return begin_run(db, this_run(next_version(), ended.at));
    });
    if (written) {
      next_run_id_ = *written;
      co_return;
    }
    log::error("the end of this run could not be recorded: {}", written.error().what);
    co_await sleep_until(deadline.earlier(Deadline::in(Millis{500})));
  }
}

// The ledger is in the store, which never opened: the next start finds our words beside the manager's.
void Daemon::tell_end_without_store(const RunEnd& end) {
  if (!lock_) return;
  RunRow run = this_run(std::string(program_version()), started_at_);
  run.ended_at = end.at;
  run.verdict = end.verdict;
  run.kind = end.kind;
  run.cause = end.cause;
  run.evidence = end.evidence;
  run.exit_code = end.exit_code;
  if (auto told = append_exit_line(options_.paths.state_directory, format_told_end(run)); !told)
    log::error("the end of this run could not be recorded: {}", told.error().what);
}

}  // namespace talaria
