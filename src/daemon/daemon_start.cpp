// The steps of a start, in the order in which Daemon::run() takes them.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "base/version.h"
#include "daemon/daemon.h"
#include "lifecycle/crash_handler.h"
#include "lifecycle/crash_loop.h"
#include "lifecycle/run_json.h"
#include "lifecycle/run_ledger.h"
#include "lifecycle/takeover.h"
#include "process/record_json.h"
#include "process/small_file.h"
#include "process/wait_ended.h"
#include "runtime/log.h"
#include "runtime/race.h"
#include "service/exit_record.h"
#include "service/supervision.h"
#include "store/journal.h"
#include "store/runs.h"

namespace talaria {
namespace {

// A resource that is away is tried again this often: the cause gone, we serve within a second.
constexpr Millis retry_time{250};
// A standby looks at the lock at least this often, and owns the home within 100 ms of its release.
constexpr Millis standby_time{50};
// A step that takes long says so this often: to the manager, whose patience is extended, and in the status.
constexpr std::chrono::seconds sign_of_life{5};

// The manager's name for this run. Inherited by everything below a service, so it says something only of a supervised
// process (find_supervision() has judged that).
std::string invocation_of(const Supervision& supervision) {
  const char* id = std::getenv("INVOCATION_ID");
  return supervision.by_systemd() && id != nullptr ? record_text(id, 64) : std::string();
}

// What waiting can't mend: 77 and 78 end the service for good, so they are for what an operator must change. A thing
// that is not there (yet: an address, a folder on a disk that is mounted late) may come; what we don't know may be
// anything.
bool may_pass(const Error& error) { return error.kind != ErrorKind::permission && error.kind != ErrorKind::invalid; }

ExitCode code_of(const Error& error) {
  return error.kind == ErrorKind::permission ? ExitCode::permission : ExitCode::config;
}

End failure(const Error& error, ExitCode code) {
  return {{code == ExitCode::config ? VerdictKind::config : VerdictKind::unplanned, code, error.what}, "{}"};
}

// "PID 4711, user service talaria-gateway@default.service".
std::string standby_words(const HomeOwner& owner) {
  std::string words = fmt::format("PID {}", owner.incarnation->pid);
  if (!owner.unit.empty()) words += fmt::format(", {} service {}", owner.scope, owner.unit);
  return words;
}

// A wrapper script in a unit hides the manager from us (we are the script's child), and what a manager starts it starts
// again: two such units with --replace would evict each other for ever. A person has a terminal.
bool is_part_of_a_service() {
  const auto cgroup = read_small_file("/proc/self/cgroup", 64 * 1024);
  return cgroup && !unit_of_cgroup_path(service_cgroup_path(*cgroup)).empty() && ::isatty(STDIN_FILENO) == 0;
}

}  // namespace

// In the group of tasks: what a disk keeps from its end is left behind like any other of them, and what it holds on to
// (its captures) lives as long as it does. Whatever ends it, whoever waits hears of it.
struct Daemon::Attempt {
  explicit Attempt(const asio::any_io_executor& executor, std::function<Task<Result<>>()> f)
      : function(std::move(f)), over(executor) {}
  static Task<> run(std::shared_ptr<Attempt> self) {
    struct Over {
      Attempt& attempt;
      explicit Over(Attempt& a) : attempt(a) {}
      Over(const Over&) = delete;
      Over& operator=(const Over&) = delete;
      ~Over() { attempt.over.set(); }
    } over(*self);
    self->result = co_await self->function();
  }
  const std::function<Task<Result<>>()> function;
  Event over;
  Result<> result = fail(ErrorKind::internal, "an attempt failed; the log says how");
};

Task<std::optional<Result<>>> Daemon::try_once(std::string what, std::function<Task<Result<>>()> attempt) {
  const auto one = std::make_shared<Attempt>(executor_, std::move(attempt));
  tasks_.spawn(what, Attempt::run(one));
  const auto begun = SteadyClock::now();
  for (;;) {
    co_await race([](Event& over) -> Task<> { co_await over.wait(Deadline::in(sign_of_life)); }(one->over),
                  [](Event& asked) -> Task<> { co_await asked.wait(); }(end_.event()));
    if (end_.asked()) co_return std::nullopt;
    if (one->over.is_set()) co_return one->result;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(SteadyClock::now() - begun);
    life_.enter_starting(fmt::format("{} takes its time, {} s so far", what, seconds.count()));
  }
}

Task<bool> Daemon::wait_for(std::string what, std::function<Task<Result<>>()> attempt) {
  std::string last;
  while (!end_.asked()) {
    const auto done = co_await try_once(what, attempt);
    if (!done) break;
    if (*done) co_return true;
    const Error& error = done->error();
    if (!may_pass(error)) {
      end_for_good(error, code_of(error));
      co_return false;
    }
    if (last != error.what) log::warning("waiting for {}: {}", what, error.what);
    last = error.what;
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
  const auto move_in = [this] {
    if (auto kept = keep_crash_records(options_.paths.state_directory, self_, invocation_of(supervision_)); !kept)
      log::warning("crash records go to the log alone: {}", kept.error().what);
    tasks_.spawn("home", keep_home());
  };
  if (adopt_home()) {
    move_in();
    co_return true;
  }
  if (!co_await wait_for("the state directory", [this]() -> Task<Result<>> { co_return try_home(); })) co_return false;
  if (!lock_) {
    if (options_.wait || supervision_.supervised() || (options_.replace && is_part_of_a_service())) {
      if (!co_await stand_by()) co_return false;
      reread_in_standby();  // it may have stood by for weeks
    } else if (options_.replace) {
      if (!co_await take_over_home()) co_return false;
    } else {
      const HomeOwner owner = find_owner(options_.paths.state_directory);
      end_for_good({ErrorKind::conflict, fmt::format("profile \"{}\" is run by {}; {}", options_.paths.profile,
                                                     describe(owner), advice(owner, options_.paths.profile))},
                   ExitCode::owned);
      co_return false;
    }
  }
  move_in();
  co_return true;
}

// Good without a lock: somebody else has the home.
Result<> Daemon::try_home() {
  if (auto made = make_directories(options_.paths); !made) return made;
  return try_lock();
}

Result<> Daemon::try_lock() {
  auto lock = InstanceLock::acquire(options_.paths.state_directory);
  if (lock) {
    lock_.emplace(std::move(*lock));
  } else if (lock.error().kind != ErrorKind::conflict) {
    return std::unexpected(lock.error());
  }
  return {};
}

Task<bool> Daemon::take_over_home() {
  TakeoverRequest request{.profile = options_.paths.profile,
                          .state_directory = options_.paths.state_directory,
                          .runtime_directory = options_.paths.runtime_directory,
                          .control_socket = options_.paths.control_socket(),
                          .by = fmt::format("talaria gateway run --replace (PID {}, user {})", self_.pid, ::getuid())};
  auto lock = co_await take_over(std::move(request), end_.event(), [this](std::string step) {
    log::info("{}", step);
    life_.enter_starting(std::move(step));
  });
  if (!lock) {
    if (!end_.asked())
      end_for_good(lock.error(), lock.error().kind == ErrorKind::permission ? ExitCode::permission : ExitCode::owned);
    co_return false;
  }
  lock_.emplace(std::move(*lock));
  co_return true;
}

// The owner's end wakes us at once (its pidfd); the look at the lock every now and then is for an owner that lets go of
// it otherwise, or that we can't see.
Task<bool> Daemon::stand_by() {
  listeners_.drop_inherited();  // the address is the owner's
  Event wake(executor_);
  TaskGroup watching(executor_);
  watching.spawn("end", [](Event& asked, Event& wake) -> Task<> {
    co_await asked.wait();
    wake.set();
  }(end_.event(), wake));
  std::optional<Incarnation> watched;
  std::string trouble;
  while (!end_.asked()) {
    auto tried = try_lock();
    if (!tried && tried.error().kind == ErrorKind::not_found) tried = try_home();  // somebody removed it
    if (lock_) {
      standby_for_.clear();
      life_.enter_starting("the home is ours now");
      break;
    }
    // Nobody owns it, and we can't either: that is no standby.
    if (!tried) {
      if (!may_pass(tried.error())) {
        end_for_good(tried.error(), code_of(tried.error()));
        break;
      }
      if (std::exchange(trouble, tried.error().what) != trouble)
        log::warning("waiting for the state directory: {}", trouble);
      standby_for_.clear();
      life_.enter_starting("waiting for the state directory: " + trouble);
      co_await wake.wait(Deadline::in(retry_time));
      continue;
    }
    const HomeOwner owner = find_owner(options_.paths.state_directory);
    if (owner.incarnation && owner.incarnation != watched) {
      if (auto process = ProcessHandle::open(*owner.incarnation)) {
        watched = owner.incarnation;
        watching.spawn("owner", [](Task<bool> ended, Event& wake) -> Task<> {
          co_await std::move(ended);
          wake.pulse();
        }(wait_ended(*process, Deadline::never()), wake));
      }
    }
    std::string whom = owner.incarnation ? standby_words(owner) : std::string("another incarnation");
    if (whom != standby_for_) {
      log::info("standby for {}", whom);
      life_.enter_standby(whom);
      standby_for_ = std::move(whom);
    }
    co_await wake.wait(Deadline::in(standby_time));
  }
  co_await watching.stop();
  co_return lock_.has_value() && !end_.asked();
}

Task<bool> Daemon::open_control_socket() {
  HttpServerLimits limits;
  limits.connections = control_connections;
  control_server_.emplace(
      executor_, limits,
      [this](HttpRequest request, HttpExchange& exchange) {
        return control_router_.handle(std::move(request), exchange);
      },
      [](std::string_view what) { log::error("control socket: internal error: {}", what); });
  co_return co_await wait_for("the control socket", [this]() -> Task<Result<>> {
    // We hold the home's lock: a socket that still answers belongs to a process that is on its way out.
    auto listener = listeners_.open("control", UnixEndpoint{options_.paths.control_socket()}, false);
    if (!listener) co_return std::unexpected(listener.error());
    adopt_connections("control.connection", *control_server_);
    co_return control_server_->serve(std::move(listener->fd));
  });
}

// Where the socket's file was deleted or is another one's. Nobody can connect to the old socket any more.
Result<> Daemon::listen_control() {
  if (auto made = make_directories(options_.paths); !made) return made;
  // We hold the home's lock: a socket that still answers belongs to a process that is on its way out.
  auto listener = listeners_.open("control", UnixEndpoint{options_.paths.control_socket()}, false);
  if (!listener) return std::unexpected(listener.error());
  return control_server_->move_to(std::move(listener->fd));
}

// The lock decides, its text informs: a full disk must not keep us from answering on the control socket meanwhile.
Task<bool> Daemon::write_lock_record() {
  co_return co_await wait_for("the lock file", [this]() -> Task<Result<>> {
    co_return lock_->write({self_, std::string(to_string(supervision_.manager)), supervision_.unit,
                            std::string(program_version()), options_.paths.control_socket(), started_at_});
  });
}

RunRow Daemon::this_run(std::string version, UnixMillis started_at) const {
  RunRow row;
  row.pid = self_.pid;
  row.process_start = self_.start_time;
  row.boot_id = self_.boot_id;
  row.scope = to_string(supervision_.manager);
  row.unit = supervision_.unit;
  row.version = std::move(version);
  row.started_at = started_at;
  row.invocation_id = invocation_of(supervision_);
  return row;
}

Task<bool> Daemon::open_store() {
  store_.emplace(executor_);
  const auto testimony = std::make_shared<const TestimonyText>(read_testimony(options_.paths.state_directory));
  keep_exit_log_short(options_.paths.state_directory);
  co_return co_await wait_for("the store", [this, testimony]() -> Task<Result<>> {
    if (auto opened = co_await store_->open(options_.paths.database()); !opened) co_return opened;
    if (end_.asked()) co_return fail(ErrorKind::cancelled, "the run was told to end");
    RunRow row = this_run(std::string(program_version()), started_at_);
    row.id = luggage_ ? luggage_->facts.run_id : 0;
    struct Opened {
      std::int64_t run_id = 0;
      RecoveryReport report;
      int crashed = 0;
      std::vector<RunRow> runs;
    };
    auto opened = co_await store_->write([&, now = clock_.now()](Database& db) -> Result<Opened> {
      Opened o;
      auto settled = settle_runs(db, *testimony,
                                 {.boot_id = self_.boot_id,
                                  .alive = row.id != 0 ? std::optional(self_) : std::nullopt,
                                  .now = now,
                                  .oldest = now - config_.store.retention.count()});
      if (!settled) return std::unexpected(settled.error());
      o.crashed = settled->crashed;
      auto runs = list_runs(db, crash_loop_runs + 1);
      if (!runs) return std::unexpected(runs.error());
      o.runs = std::move(*runs);
      std::erase_if(o.runs, [&row](const RunRow& run) { return run.id == row.id; });
      auto adopted = adopt_run(db, row);
      if (!adopted) return std::unexpected(adopted.error());
      auto id = *adopted ? Result<std::int64_t>(row.id) : begin_run(db, row);
      if (!id) return std::unexpected(id.error());
      o.run_id = *id;
      auto report = recover(db, now - config_.gateway.max_backlog_age.count(), now);
      if (!report) return std::unexpected(report.error());
      o.report = *report;
      return o;
    });
    if (!opened) co_return std::unexpected(opened.error());
    run_id_ = opened->run_id;
    earlier_runs_ = std::move(opened->runs);
    if (!earlier_runs_.empty()) last_end_ = to_json(earlier_runs_.front());
    if (opened->crashed > 0) log::warning("the last run ended in a crash: {}", earlier_runs_.front().cause);
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
  if (config_.api.listen.empty()) {
    listeners_.drop_inherited();
    co_return true;
  }
  auto endpoint = parse_endpoint(config_.api.listen);
  if (!endpoint) {
    end_for_good(endpoint.error(), ExitCode::config);
    co_return false;
  }
  make_api_server();
  co_return co_await wait_for(fmt::format("the API's address {}", config_.api.listen),
                              [this, endpoint]() -> Task<Result<>> {
                                auto listener = listeners_.open("api", *endpoint, true);
                                if (!listener) co_return std::unexpected(listener.error());
                                listeners_.drop_inherited();
                                api_address_ = to_string(listener->endpoint);
                                api_listener_ = std::move(listener->fd);
                                co_return Result<>{};
                              });
}

Task<bool> Daemon::start_gateway() {
  gateway_.emplace(Gateway::Parts{
      .executor = executor_,
      .clock = &clock_,
      .store = &*store_,
      .config = &config_,
      .agents = make_agents(config_, wiring_, children_, executor_),
      .channels = make_channels(config_, wiring_, executor_, clock_),
      .on_bug = [](std::string_view task, std::string_view what) { log::error("{}: internal error: {}", task, what); },
      .self = {.pid = self_.pid,
               .profile = options_.paths.profile,
               .scope = std::string(to_string(options_.scope)),
               .unit = supervision_.unit,
               .channel = ""},
      .desk = command_desk(),
      .attachments = options_.paths.attachments()});
  if (!co_await wait_for("the store", [this] { return gateway_->start(); })) co_return false;
  api_router_.attach(&*gateway_);
  control_router_.attach(&*gateway_, &*store_);
  (void)co_await try_once("the ledger", [this]() -> Task<Result<>> {
    co_return co_await store_->write(
        [id = run_id_, now = clock_.now()](Database& db) { return run_ready(db, id, now); });
  });
  // Not before there is somebody to answer: those who wait in the backlog came to be served, not to be told 503.
  if (api_server_ && api_listener_) {
    if (auto serves = api_server_->serve(std::move(api_listener_)); !serves) {
      end_for_good(serves.error(), ExitCode::unplanned);
      co_return false;
    }
    adopt_connections("api.connection", *api_server_);
  }
  if (end_.asked()) co_return false;
  phases_.enter("running");
  reloads_.applied_at = clock_.now();
  life_.enter_running(running_words());
  log::info("ready: profile {}, PID {}{}{}", options_.paths.profile, self_.pid,
            api_address_.empty() ? "" : ", API on " + api_address_,
            supervision_.unit.empty() ? "" : fmt::format(", unit {}", supervision_.unit));
  co_return true;
}

}  // namespace talaria
