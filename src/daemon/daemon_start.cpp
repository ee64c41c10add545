// The steps of a start, in the order in which Daemon::run() takes them.
#include <fmt/format.h>

#include "daemon/daemon.h"
#include "lifecycle/run_json.h"
#include "lifecycle/run_ledger.h"
#include "process/small_file.h"
#include "runtime/log.h"
#include "store/journal.h"
#include "store/runs.h"

namespace talaria {
namespace {

// A resource that is away is tried again this often: the cause gone, we serve within a second.
constexpr Millis retry_time{250};
// A standby looks at the lock this often, and owns the home within 100 ms of its release.
constexpr Millis standby_time{25};

bool may_pass(const Error& error) {
  return error.kind == ErrorKind::unavailable || error.kind == ErrorKind::conflict || error.kind == ErrorKind::timeout;
}

End failure(const Error& error, ExitCode code) {
  return {{code == ExitCode::config ? VerdictKind::config : VerdictKind::unplanned, code, error.what}, "{}"};
}

}  // namespace

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

}  // namespace talaria
