// The way out: drain, agents, deliveries, record, close. Each step has its own bound, all together end within what the
// service manager allows (lifecycle/stop_budget.h), and a stop guard ends the process should even that fail.
//
// Nothing here is needed for correctness: what is cut off is found by the next start's recovery.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/say.h"
#include "base/version.h"
#include "daemon/daemon.h"
#include "lifecycle/manager_exit.h"
#include "lifecycle/stop_budget.h"
#include "runtime/log.h"
#include "service/ask_supervisor.h"
#include "service/exit_record.h"
#include "service/stop_timeout.h"
#include "service/units.h"
#include "store/journal.h"
#include "store/runs.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;

// How often a drain looks for signs of life.
constexpr Millis turns_look_time{500};
// Processes that agents left behind have this long between TERM and KILL.
constexpr Millis leftovers_grace{2'000};
constexpr Millis hurried_grace{500};
// TimeoutStopSec=infinity.
constexpr Millis no_limit = Millis::max();

Millis since(SteadyClock::time_point then) { return std::chrono::duration_cast<Millis>(SteadyClock::now() - then); }

// What crash.log gets of a run that its guard ended (lifecycle/crash_record.h), up to the time.
std::string stop_record(const Incarnation& self, const End& end) {
  std::string cause = end.verdict.cause;
  std::ranges::replace(cause, '\n', ' ');
  return fmt::format(
      "talaria-crash 1\ntype stuck-stop\nincarnation {}\nversion {}\nverdict {}\ncause {}\nexit-code {}\n",
      to_string(self), program_version(), to_string(end.verdict.kind), cause, static_cast<int>(end.verdict.exit_code));
}

// `sv stop` and, while we drain, `sv start`: 0 would keep the service down although it is wanted up by now. `sv
// restart` sends its signal first and says "up" a moment later, so after a `second_signal` we look for a moment.
Task<bool> is_wanted_again(const Verdict& verdict, const Supervision& supervision, int pid, bool second_signal) {
  constexpr Millis wish_settle_time{80};
  constexpr Millis settle_step{5};
  if (!verdict.wanted_down) co_return false;
  const auto settled = Deadline::in(second_signal ? wish_settle_time : Millis{0});
  for (;;) {
    const auto wish = read_wish(supervision, pid);
    if (!wish || wish->wanted == Wanted::up || settled.expired()) co_return wish && wish->wanted == Wanted::up;
    co_await sleep_for(settle_step);
  }
}

}  // namespace

// Where one stop stands.
struct Daemon::Stopping {
  explicit Stopping(StopBudget::Limits limits) : budget(begun, limits) {}
  const SteadyClock::time_point begun = SteadyClock::now();
  StopBudget budget;
  bool drained = false;
  bool departs = false;  // another program goes on in our place
  bool clean = true;     // false: a task still runs; nothing that it uses may be destroyed

  [[nodiscard]] Deadline step(Millis usual) const { return budget.step(usual, SteadyClock::now()); }
};

Task<GatewayExit> Daemon::stop() {
  const End& end = end_.end();
  Stopping stopping(stop_limits());
  stopping.departs = end.execute_again && lock_;
  if (stopping.departs) stopping.budget.set_manager(std::nullopt);  // it knows of no stop
  stop_guard_.arm(
      Deadline(stopping.budget.guard()),
      {.exit_code = static_cast<int>(end.verdict.exit_code),
       .record_file = store_ ? options_.paths.state_directory + "/crash.log" : std::string(),
       .record = stop_record(self_, end),
       .last_act = stopping.budget.last_act(),
       .end_children = [limit = stopping.budget.last_act() / 2] { kill_descendants(Deadline::in(limit)); }});
  if (final_error_) {
    say("talaria: {}\n", final_error_->what);  // may block: the guard is armed
  } else {
    log::info("ending ({}): {}", to_string(end.verdict.kind), end.verdict.cause);
  }
  phases_.enter("drain");
  TaskGroup aside(executor_);
  aside.spawn("second signal", heed_second_signal(stopping));
  if (stopping.departs) {
    life_.enter_changing(end.verdict.cause);
    co_await finish_exchanges(Deadline(stopping.budget.drain()));
    // What command agents still run needs not be waited for: it goes on in the next program.
    if (end.execute_again) children_->ask();
  } else {
    aside.spawn("stop limit", learn_stop_limit(stopping));
  }
  if (!stopping.departs || !end.execute_again) co_await let_nobody_in(stopping);
  if (gateway_) co_await drain_turns(stopping);
  stopping.budget.drained(SteadyClock::now());
  stopping.drained = true;
  stop_guard_.set_deadline(Deadline(stopping.budget.guard()));
  co_await end_agents(stopping);
  co_await end_deliveries(stopping);
  // Not before: a channel's program is our child, too. It accounts for what it was handed and is told to stop first.
  // One that goes on in our place keeps whoever is left: they are its children.
  if (!stopping.departs) co_await end_leftovers(stopping, leftovers_grace);
  // A stop that came meanwhile has taken the place of the change of programs.
  if (stopping.departs) co_await signals_.judged(Deadline::in(std::chrono::seconds(1)));
  if (stopping.departs && !end.execute_again) {
    (void)children_->take_all();  // there is no next program for them
    co_await let_nobody_in(stopping);
    co_await end_leftovers(stopping, leftovers_grace);
  }
  if (stopping.departs) children_in_transit_ = children_->take_all();
  if (co_await is_wanted_again(end.verdict, supervision_, self_.pid, end_.impatient().is_set())) end_.start_again();
  co_await record_end(stopping);
  co_await aside.stop();
  watch_->end();  // from here on the loop may wait for a thread
  stopping.clean = co_await tasks_.stop(stopping.step(2s)) && stopping.clean;
  if (control_server_ && stopping.departs) co_await finish_control();
  if (control_server_) stopping.clean = co_await control_server_->stop(stopping.step(1s)) && stopping.clean;
  if (stopping.departs && !end.execute_again) {
    // At the very last moment; the run that was begun for the next program ends.
    run_id_ = next_run_id_;
    children_in_transit_.clear();  // which ends them
    co_await let_nobody_in(stopping);
    co_await end_leftovers(stopping, leftovers_grace);
    co_await record_end(stopping);
  }
  const int code = static_cast<int>(end.verdict.exit_code);
  if (stopping.clean) {
    gateway_.reset();
    store_.reset();
  } else {
    log::error("a task did not end in time; leaving it behind, the next start recovers");
  }
  if (lock_ && !stopping.departs) ::unlink(options_.paths.control_socket().c_str());
  if (!final_error_) log::info("ended with exit code {} after {} ms", code, since(stopping.begun).count());
  GatewayExit exit{.code = code, .departure = {}, .left_tasks = !stopping.clean};
  if (stopping.departs) exit.departure = pack();
  co_return exit;
}

// From here on it is a stop, and no change of programs.
Task<> Daemon::let_nobody_in(Stopping& stopping) {
  if (std::exchange(stopping.departs, false)) {
    stopping.budget = StopBudget(SteadyClock::now(), stop_limits());
    if (stopping.drained) stopping.budget.drained(SteadyClock::now());
    if (end_.impatient().is_set()) stopping.budget.cut_short(SteadyClock::now());
    stop_guard_.set_deadline(Deadline(stopping.budget.guard()));
  }
  life_.enter_draining(end_.end().verdict.cause);
  // First: whoever comes while we ask the manager waits in the backlog instead of being told that we drain.
  if (api_server_) api_server_->stop_accepting();
  co_await settle_listeners(stopping);
}

// What is known of the manager's patience now. Where it could not be asked, it is as in the unit that we install, and
// learn_stop_limit() makes sure of it.
StopBudget::Limits Daemon::stop_limits() const {
  StopBudget::Limits limits{
      .drain_timeout = config_.gateway.drain_timeout, .manager = {}, .extendable = notifier_.active()};
  if (!supervision_.supervised()) return limits;
  limits.manager = stop_limit_.value_or(std::chrono::seconds(unit_stop_seconds));
  if (*limits.manager == no_limit) limits.manager.reset();
  return limits;
}

Task<> Daemon::ask_stop_limit() {
  const auto limit = co_await ask_stop_timeout(supervision_.manager, supervision_.unit, Deadline::in(5s));
  if (limit) stop_limit_ = limit->value_or(no_limit);
}

// A drop-in may have changed since the start. A manager that was always silent is at least told how long we take: that
// it grants without being able to answer (EXTEND_TIMEOUT_USEC=, sd_notify(3)).
Task<> Daemon::learn_stop_limit(Stopping& stopping) {
  if (!supervision_.by_systemd()) co_return;
  const auto limit = co_await ask_stop_timeout(supervision_.manager, supervision_.unit, Deadline::in(500ms));
  if (limit) {
    stopping.budget.set_manager(*limit);
  } else if (!stop_limit_) {
    notifier_.extend(std::chrono::seconds(unit_stop_seconds));
  }
  stop_guard_.set_deadline(Deadline(stopping.budget.guard()));
}

// Whoever asks twice wants it now: turns are cut off, agents are killed, replies stay in the outbox.
Task<> Daemon::heed_second_signal(Stopping& stopping) {
  co_await end_.impatient().wait();
  log::info("asked again: ending at once");
  stopping.budget.cut_short(SteadyClock::now());
  stop_guard_.set_deadline(Deadline(stopping.budget.guard()));
  if (gateway_) gateway_->hurry();
  co_await sleep_for(hurried_grace);
  for (;;) {  // until the agents' end is over and cancels us
    if (const auto alive = living_descendants(); alive && !alive->empty()) signal_descendants(*alive, SIGKILL);
    co_await sleep_for(hurried_grace);
  }
}

Task<> Daemon::drain_turns(Stopping& stopping) {
  gateway_->begin_drain();
  auto seen = gateway_->progress();
  while (gateway_->depths().running > 0 && !end_.impatient().is_set()) {
    const Deadline until(stopping.budget.drain());
    if (until.expired()) break;
    co_await gateway_->turn_ended().wait(until.earlier(Deadline::in(turns_look_time)));
    if (const auto now = gateway_->progress(); std::exchange(seen, now) != now) {
      if (const auto more = stopping.budget.progress(SteadyClock::now())) notifier_.extend(*more);
      stop_guard_.set_deadline(Deadline(stopping.budget.guard()));
    }
  }
  const QueueDepths left = gateway_->depths();
  cut_off_ = static_cast<int>(left.running);
  if (left.running > left.unkeyed)
    log::warning("{} running turns are cut off; the next start runs them again", left.running - left.unkeyed);
  if (left.unkeyed > 0)
    log::warning("{} running turns without an Idempotency-Key are cut off for good; who waits for them is told so",
                 left.unkeyed);
}

// A turn has ended a moment before its answer is on its way: every client gets it but those of turns that still run.
// One that had just come when the stop began is told that we drain, and when to ask again.
Task<> Daemon::send_answers(Stopping& stopping) {
  if (!api_server_) co_return;
  const Deadline deadline = stopping.step(1s);
  const auto running = static_cast<std::size_t>(gateway_ ? gateway_->depths().running : 0);
  for (Millis pause{1}; api_server_->exchanges() + api_server_->newcomers() > running && !deadline.expired();
       pause = std::min(pause * 2, Millis{20}))
    co_await sleep_until(deadline.earlier(Deadline::in(pause)));
}

// Turns are interrupted, which ends their process groups (TERM, then KILL).
Task<> Daemon::end_agents(Stopping& stopping) {
  phases_.enter("agents");
  co_await send_answers(stopping);
  const Deadline polite = stopping.step(4s);
  bool ended = true;
  if (gateway_) ended = co_await gateway_->end_turns(polite);
  co_await send_answers(stopping);  // "ask again with the same key"
  if (api_server_) ended = co_await api_server_->stop(polite) && ended;
  if (!ended) {
    co_await end_leftovers(stopping, Millis{0});  // then their agents are dead
    if (gateway_) ended = co_await gateway_->end_turns(stopping.step(1s));
    if (api_server_) ended = co_await api_server_->stop(stopping.step(1s)) && ended;
  }
  if (gateway_) ended = co_await in_time("turns", gateway_->settle_turns(), stopping.step(2s)) && ended;
  stopping.clean = ended && stopping.clean;
}

// Whatever processes are left below us: agents' in sessions of their own, say.
Task<> Daemon::end_leftovers(Stopping& stopping, Millis grace) {
  phases_.enter("agents");
  const DescendantsEnd left = co_await end_descendants(grace, stopping.step(4s), end_.impatient());
  left_behind_.found += left.found;
  left_behind_.killed += left.killed;
  left_behind_.left = left.left;
  if (left.killed > 0)
    log::warning("{} processes that agents had started did not end when asked and were killed: {}", left.killed,
                 fmt::join(left.names, ", "));
  if (left.left > 0) log::error("{} processes that agents had started could not be ended", left.left);
}

Task<> Daemon::end_deliveries(Stopping& stopping) {
  if (!gateway_) co_return;
  phases_.enter("deliveries");
  stopping.clean = co_await gateway_->end_deliveries(stopping.step(4s)) && stopping.clean;
  stopping.clean = co_await gateway_->end_channels(stopping.step(2s)) && stopping.clean;
}

// Runs something that may hang, a write to a slow disk above all, as a task of ours that is left behind at the
// deadline. False: it was.
Task<bool> Daemon::in_time(std::string what, Task<> work, Deadline deadline) {
  const auto done = std::make_shared<Event>(executor_);
  tasks_.spawn(std::move(what), [](Task<> inner, std::shared_ptr<Event> event) -> Task<> {
    co_await std::move(inner);
    event->set();
  }(std::move(work), done));
  co_return co_await done->wait(deadline);
}

Task<> Daemon::record_end(Stopping& stopping) {
  const RunEnd ended = run_end(end_.end());
  if (!store_ || run_id_ == 0) {
    tell_end_without_store(ended);
    co_return;
  }
  if (co_await in_time("record", write_end(ended, stopping.departs), stopping.step(3s))) co_return;
  stopping.clean = false;
  log::error("the end of this run could not be recorded in time: the store does not answer");
  stop_guard_.set_deadline(Deadline::in(2s));  // should this record hang as the store does
  stop_guard_.give_evidence("the store did not take the record of the end in time");
  stop_guard_.set_deadline(Deadline(stopping.budget.guard()));
}

Task<> Daemon::write_end(RunEnd ended, bool departs) {
  for (;;) {
    auto written = co_await store_->write([this, ended, departs](Database& db) -> Result<std::int64_t> {
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
    co_await sleep_for(Millis{500});
  }
}

RunEnd Daemon::run_end(const End& end) const {
  boost::system::error_code ec;
  boost::json::value evidence = boost::json::parse(end.evidence.empty() ? "{}" : end.evidence, ec);
  if (ec || !evidence.is_object()) evidence = boost::json::object{};
  if (cut_off_ > 0) evidence.as_object()["cut_off"] = boost::json::object{{"turns", cut_off_}};
  if (left_behind_.found > 0)
    evidence.as_object()["left_behind"] = {
        {"found", left_behind_.found}, {"killed", left_behind_.killed}, {"left", left_behind_.left}};
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

// Whoever connects from now on waits for a successor, or is refused at once where none will come.
Task<> Daemon::settle_listeners(Stopping& stopping) {
  const End& end = end_.end();
  bool successor = end.verdict.kind == VerdictKind::unplanned || end.verdict.kind == VerdictKind::restart;
  if (end.verdict.kind == VerdictKind::planned && supervision_.by_systemd()) {
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

}  // namespace talaria
