// The way out: drain, record, close, each bounded; the whole by the StopGuard.
#include <fmt/format.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "runtime/log.h"
#include "store/runs.h"

namespace talaria {
namespace {

// What stopping may take beyond the drain: deliveries, agents, the store.
constexpr Millis stop_margin{15'000};

}  // namespace

Task<GatewayExit> Daemon::stop() {
  const End& end = end_.end();
  const int code = static_cast<int>(end.verdict.exit_code);
  if (final_error_) {
    fmt::print(stderr, "talaria: {}\n", final_error_->what);
  } else {
    log::info("ending ({}): {}", to_string(end.verdict.kind), end.verdict.cause);
  }
  const Deadline drain = Deadline::in(config_.gateway.drain_timeout);
  stop_guard_.arm(Deadline::in(config_.gateway.drain_timeout + stop_margin), code);
  life_.enter_draining(end.verdict.cause);

  // First: whoever comes while we ask the manager waits in the backlog instead of being told that we drain.
  if (api_server_) api_server_->stop_accepting();
  co_await settle_listeners(end);
  bool clean = true;
  if (gateway_) {
    TaskGroup impatience(executor_);
    impatience.spawn("second signal", [](Event& again, Gateway& gateway) -> Task<> {
      co_await again.wait();
      gateway.cut_drain_short();
    }(end_.impatient(), *gateway_));
    const auto drained = co_await gateway_->drain(drain);
    clean = drained.clean;
    if (drained.cut_off > 0) {
      log::warning("{} running turns were cut off; the next start runs them again", drained.cut_off);
    }
    co_await impatience.stop();
  }
  const Deadline closing = Deadline::in(std::chrono::seconds(5));
  if (api_server_) clean = co_await api_server_->stop(closing) && clean;
  co_await record_end(end, code, Deadline::in(std::chrono::seconds(5)));
  clean = co_await tasks_.stop(closing) && clean;
  if (control_server_) clean = co_await control_server_->stop(Deadline::in(std::chrono::seconds(1))) && clean;
  if (clean) {
    gateway_.reset();
    store_.reset();
  } else {
    log::error("a task did not end in time; leaving it behind, the next start recovers");
  }
  if (lock_) ::unlink(options_.paths.control_socket().c_str());
  if (!final_error_) log::info("ended with exit code {}", code);
  co_return GatewayExit{.code = code, .execute_again = end.execute_again, .left_tasks = !clean};
}

// Whoever connects from now on waits for a successor, or is refused at once where none will come.
Task<> Daemon::settle_listeners(const End& end) {
  bool successor = end.verdict.kind == VerdictKind::unplanned || end.verdict.kind == VerdictKind::restart;
  if (end.verdict.kind == VerdictKind::planned && supervision_.supervised()) {
    // An announcement comes from ExecStop=, which a restart runs too: only the manager knows which one it is.
    const auto answer =
        co_await ask_unit(supervision_.manager, supervision_.unit, Deadline::in(std::chrono::milliseconds(250)));
    successor = !answer || answer->job_type.ends_with("restart");
  }
  if (successor && notifier_.active()) {
    listeners_.leave_to_manager();
  } else {
    listeners_.close_for_good();
  }
}

Task<> Daemon::record_end(const End& end, int exit_code, Deadline deadline) {
  if (!store_ || run_id_ == 0) co_return;
  while (!deadline.expired()) {
    auto written = co_await store_->write([&, now = clock_.now()](Database& db) {
      return end_run(db, run_id_, std::string(to_string(end.verdict.kind)), end.verdict.cause, end.evidence, exit_code,
                     now);
    });
    if (written) co_return;
    log::error("the end of this run could not be recorded: {}", written.error().what);
    co_await sleep_until(deadline.earlier(Deadline::in(Millis{500})));
  }
}

}  // namespace talaria
