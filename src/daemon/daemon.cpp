#include "daemon/daemon.h"

#include <fmt/format.h>
#include <unistd.h>

#include "lifecycle/run_json.h"
#include "lifecycle/run_ledger.h"
#include "process/announcement.h"
#include "process/small_file.h"
#include "runtime/backoff.h"
#include "runtime/log.h"
#include "store/journal.h"
#include "store/runs.h"

namespace talaria {
namespace json = boost::json;
namespace {

// A resource that is away is tried again this often: the cause gone, we serve within a second.
constexpr Millis retry_time{250};
// A standby looks at the lock this often, and owns the home within 100 ms of its release.
constexpr Millis standby_time{25};
// What stopping may take beyond the drain: deliveries, agents, the store.
constexpr Millis stop_margin{15'000};

bool may_pass(const Error& error) {
  return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::conflict || error.kind == ErrorKind::timeout;
}

Incarnation who_am_i() {
  auto self = this_incarnation();
  return self ? *self : Incarnation{};
}

End failure(const Error& error, ExitCode code) {
  return {{code == ExitCode::config ? VerdictKind::config : VerdictKind::unplanned, code, error.what}, "{}"};
}

}  // namespace

Daemon::Daemon(asio::any_io_executor executor, GatewayOptions options, Config config, Wiring wiring,
               StopGuard& stop_guard)
    : executor_(executor),
      options_(std::move(options)),
      config_(std::move(config)),
      wiring_(std::move(wiring)),
      stop_guard_(stop_guard),
      started_at_(clock_.now()),
      self_(who_am_i()),
      supervision_(find_supervision()),
      life_(notifier_),
      end_(executor),
      desk_(self_, options_.paths.runtime_directory),
      signals_(executor, supervision_, desk_, end_),
      control_router_(view(), control_actions()),
      api_router_(KeyRing(wiring_.api_keys), view(), !config_.api.allow_public),
      tasks_(executor,
             [](std::string_view task, std::string_view what) { log::error("{}: internal error: {}", task, what); }) {}

// ---- The story
// ---------------------------------------------------------------------------------------------------------

Task<GatewayExit> Daemon::run() {
  if (auto ok = signals_.open(); !ok) {
    log::error("{}", ok.error().what);
    co_return GatewayExit{static_cast<int>(ExitCode::unplanned), false, false};
  }
  tasks_.spawn("signals", signals_.run());
  if (notifier_.watchdog_interval().count() > 0) tasks_.spawn("watchdog", ping_watchdog());

  const bool started = co_await claim_home() && co_await open_control_socket() && co_await write_lock_record() &&
                       co_await open_store() && co_await listen_api() && co_await start_gateway();
  if (started) {
    tasks_.spawn("retention", retire_old_rows());
    co_await end_.event().wait();
  }
  co_return co_await stop();
}

// ---- Starting
// ----------------------------------------------------------------------------------------------------------

Task<bool> Daemon::wait_for(std::string what, std::function<Task<Result<>>()> attempt) {
  std::string last;
  while (!end_.asked()) {
    auto done = co_await attempt();
    if (done) co_return !end_.asked();
    if (!may_pass(done.error())) {
      end_for_good(done.error(), done.error().kind == ErrorKind::permission ? ExitCode::permission : ExitCode::config);
      co_return false;
    }
    if (last != done.error().what) log::warning("waiting for {}: {}", what, done.error().what);
    last = done.error().what;
    life_.enter_starting(fmt::format("waiting for {}: {}", what, last));
    co_await end_.event().wait(Deadline::in(retry_time));
  }
  co_return false;
}

void Daemon::end_for_good(const Error& error, ExitCode code) {
  final_error_ = error;
  end_.ask(failure(error, code));
}

Task<bool> Daemon::claim_home() {
  bool taken = false;
  const bool tried = co_await wait_for("the state directory", [this, &taken]() -> Task<Result<>> {
    if (auto made = make_directories(options_.paths); !made) co_return made;
    auto lock = InstanceLock::acquire(options_.paths.state_directory);
    if (lock) {
      lock_.emplace(std::move(*lock));
    } else if (lock.error().kind == ErrorKind::conflict) {
      taken = true;
    } else {
      co_return std::unexpected(lock.error());
    }
    co_return Result<>{};
  });
  if (!tried) co_return false;
  if (taken) {
    if (supervision_.supervised() || options_.wait) {
      if (!co_await stand_by()) co_return false;
    } else {
      auto question = ask_instance_lock(options_.paths.state_directory);
      std::string owner = "another process";
      if (question && question->record) {
        const LockRecord& record = *question->record;
        owner = fmt::format("PID {}{} since {}", record.incarnation.pid,
                            record.unit.empty() ? "" : " of unit " + record.unit, format_rfc3339(record.since));
      }
      end_for_good(
          {ErrorKind::conflict, fmt::format("profile \"{}\" is run by {}; `talaria gateway stop` ends it, `talaria "
                                            "gateway run --wait` waits for it",
                                            options_.paths.profile, owner)},
          ExitCode::owned);
      co_return false;
    }
  }
  co_return true;
}

Task<bool> Daemon::stand_by() {
  std::string told;
  while (!end_.asked()) {
    auto lock = InstanceLock::acquire(options_.paths.state_directory);
    if (lock) {
      lock_.emplace(std::move(*lock));
      standby_for_.reset();
      life_.enter_starting("the home is ours now");
      co_return true;
    }
    if (auto question = ask_instance_lock(options_.paths.state_directory); question && question->record)
      standby_for_ = question->record;
    const std::string whom =
        standby_for_ ? fmt::format("PID {}{}", standby_for_->incarnation.pid,
                                   standby_for_->unit.empty()
                                       ? ""
                                       : fmt::format(", {} service {}", standby_for_->scope, standby_for_->unit))
                     : std::string("another incarnation");
    if (whom != told) {
      log::info("standby for {}", whom);
      life_.enter_standby(whom);
      told = whom;
    }
    co_await end_.event().wait(Deadline::in(standby_time));
  }
  co_return false;
}

Task<bool> Daemon::open_control_socket() {
  HttpServerLimits limits;
  limits.connections = 64;
  control_server_.emplace(
      executor_, limits,
      [this](HttpRequest request, HttpExchange& exchange) {
        return control_router_.handle(std::move(request), exchange);
      },
      [](std::string_view what) { log::error("control socket: internal error: {}", what); });
  co_return co_await wait_for("the control socket", [this]() -> Task<Result<>> {
    // We hold the home's lock: a socket that still answers belongs to a process that is on its way out.
    auto listener = listen_on(UnixEndpoint{options_.paths.control_socket()});
    if (!listener) co_return std::unexpected(listener.error());
    co_return control_server_->serve(std::move(listener->fd));
  });
}

// The lock decides, its text informs: a full disk must not keep us from answering on the control socket meanwhile.
Task<bool> Daemon::write_lock_record() {
  co_return co_await wait_for("the lock file", [this]() -> Task<Result<>> {
    const char* scope =
        supervision_.supervised() ? (supervision_.manager == ManagerKind::systemd_system ? "system" : "user") : "none";
    co_return lock_->write(
        {self_, scope, supervision_.unit, TALARIA_VERSION, options_.paths.control_socket(), started_at_});
  });
}

Task<bool> Daemon::open_store() {
  store_.emplace(executor_);
  const std::string exits_file = options_.paths.state_directory + "/exits.jsonl";
  std::vector<ManagerExit> exits;
  if (auto text = read_small_file(exits_file, 256 * 1024)) exits = parse_manager_exits(*text);
  co_return co_await wait_for("the store", [this, &exits]() -> Task<Result<>> {
    if (auto opened = co_await store_->open(options_.paths.database()); !opened) co_return opened;
    RunRow row;
    row.pid = self_.pid;
    row.process_start = self_.start_time;
    row.boot_id = self_.boot_id;
    row.scope =
        supervision_.supervised() ? (supervision_.manager == ManagerKind::systemd_system ? "system" : "user") : "none";
    row.unit = supervision_.unit;
    row.version = TALARIA_VERSION;
    row.started_at = started_at_;
    struct Opened {
      std::int64_t run_id = 0;
      RecoveryReport report;
      int crashed = 0;
      std::vector<RunRow> runs;
    };
    auto opened = co_await store_->write([&, now = clock_.now()](Database& db) -> Result<Opened> {
      Opened o;
      auto crashed = settle_crashed_runs(db, self_, exits, now);
      if (!crashed) return std::unexpected(crashed.error());
      o.crashed = *crashed;
      auto runs = list_runs(db, 1);
      if (!runs) return std::unexpected(runs.error());
      o.runs = std::move(*runs);
      auto id = begin_run(db, row);
      if (!id) return std::unexpected(id.error());
      o.run_id = *id;
      auto report = recover(db, now - config_.gateway.max_backlog_age.count(), now);
      if (!report) return std::unexpected(report.error());
      o.report = *report;
      return o;
    });
    if (!opened) co_return std::unexpected(opened.error());
    run_id_ = opened->run_id;
    if (!opened->runs.empty()) last_end_ = to_json(opened->runs.front());
    if (opened->crashed > 0) log::warning("the last run ended in a crash: {}", opened->runs.front().cause);
    const RecoveryReport& r = opened->report;
    if (r.requeued + r.parked + r.cancelled + r.skipped + r.unknown > 0) {
      log::info(
          "recovered: {} turns run again, {} put aside, {} without an asker dropped, {} too old, {} replies of unknown "
          "fate",
          r.requeued, r.parked, r.cancelled, r.skipped, r.unknown);
    }
    co_return Result<>{};
  });
}

Task<bool> Daemon::listen_api() {
  if (config_.api.listen.empty()) co_return true;
  auto endpoint = parse_endpoint(config_.api.listen);
  if (!endpoint) {
    end_for_good(endpoint.error(), ExitCode::config);
    co_return false;
  }
  HttpServerLimits limits;
  limits.connections = static_cast<std::size_t>(config_.api.max_connections);
  limits.body_bytes = static_cast<std::size_t>(config_.api.max_body);
  api_server_.emplace(
      executor_, limits,
      [this](HttpRequest request, HttpExchange& exchange) { return api_router_.handle(std::move(request), exchange); },
      [](std::string_view what) { log::error("API: internal error: {}", what); });
  co_return co_await wait_for(fmt::format("the API's address {}", config_.api.listen),
                              [this, &endpoint]() -> Task<Result<>> {
                                auto listener = listen_on(*endpoint);
                                if (!listener) co_return std::unexpected(listener.error());
                                api_address_ = to_string(listener->endpoint);
                                co_return api_server_->serve(std::move(listener->fd));
                              });
}

Task<bool> Daemon::start_gateway() {
  gateway_.emplace(Gateway::Parts{.executor = executor_,
                                  .clock = &clock_,
                                  .store = &*store_,
                                  .config = &config_,
                                  .agents = make_agents(config_, wiring_, executor_),
                                  .channels = make_channels(config_, wiring_, executor_, clock_),
                                  .on_bug = [](std::string_view task, std::string_view what) {
                                    log::error("{}: internal error: {}", task, what);
                                  }});
  if (!co_await wait_for("the store", [this] { return gateway_->start(); })) co_return false;
  api_router_.attach(&*gateway_);
  control_router_.attach(&*gateway_, &*store_);
  (void)co_await store_->write([id = run_id_, now = clock_.now()](Database& db) { return run_ready(db, id, now); });
  if (end_.asked()) co_return false;
  life_.enter_running(api_address_.empty() ? std::string("running") : fmt::format("running, API on {}", api_address_));
  log::info("ready: profile {}, PID {}{}{}", options_.paths.profile, self_.pid,
            api_address_.empty() ? "" : ", API on " + api_address_,
            supervision_.unit.empty() ? "" : fmt::format(", unit {}", supervision_.unit));
  co_return true;
}

// ---- Stopping
// ----------------------------------------------------------------------------------------------------------

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

  if (api_server_) api_server_->stop_accepting();
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

// ---- Beside the story
// --------------------------------------------------------------------------------------------------

Task<> Daemon::ping_watchdog() {
  for (;;) {
    notifier_.watchdog();
    co_await sleep_for(notifier_.watchdog_interval() / 2);
  }
}

Task<> Daemon::retire_old_rows() {
  for (;;) {
    co_await sleep_for(std::chrono::minutes(10));
    int gone = 0;
    do {  // in small steps, so that messages never wait behind the broom
      auto retired = co_await store_->write(
          [before = clock_.now() - config_.store.retention.count()](Database& db) { return retire(db, before, 200); });
      gone = retired ? *retired : 0;
    } while (gone > 0);
  }
}

bool Daemon::ready() const { return life_.state() == LifeState::running && !end_.asked(); }

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
              },
          .restart = [this](const std::string& by) -> Result<> {
            json::object evidence{{"asked_by", by}};
            end_.ask({{VerdictKind::restart, ExitCode::again, fmt::format("asked to restart by {}", by)},
                      json::serialize(evidence),
                      !supervision_.supervised()});
            return {};
          }};
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
                      {"unit", nullptr},
                      {"pid", self_.pid},
                      {"start_time", self_.start_time},
                      {"since", format_rfc3339(started_at_)},
                      {"version", TALARIA_VERSION},
                      {"home", options_.paths.state_directory},
                      {"api", nullptr},
                      {"standby_for", nullptr},
                      {"backoff_until", nullptr},
                      {"channels", std::move(channels)},
                      {"queues", std::move(queues)},
                      {"last_end", nullptr},
                      {"duplicates", json::array{}},
                      {"warnings", json::array{}}};
  if (!supervision_.unit.empty()) status["unit"] = supervision_.unit;
  if (!api_address_.empty()) status["api"] = api_address_;
  if (standby_for_) status["standby_for"] = fmt::format("PID {}", standby_for_->incarnation.pid);
  if (last_end_) {
    json::object end;
    for (const char* key : {"verdict", "cause", "evidence", "exit_code", "at"}) end[key] = last_end_->at(key);
    status["last_end"] = std::move(end);
  }
  return status;
}

}  // namespace talaria
