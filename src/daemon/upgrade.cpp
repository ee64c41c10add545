// `gateway upgrade`: this process becomes another program without letting go of anything. In order:
//
//   1. The new program is run as a child with `gateway self-check`: does it take the configuration, the store, our
//      handover? Whatever is wrong with it shows here, while nothing has been touched.
//   2. The API stops accepting (who connects waits in the backlog). Exchanges go on to their ends; a connection between
//      two exchanges is put aside, not closed. Then the ordinary drain.
//   3. The ledger gets the end of this run and the beginning of the next one in one transaction, the store is closed.
//   4. execve(2), with locks, listening sockets and connections open (daemon/departure.h).
//   5. The new program finds its luggage before it does anything else, and starts as ever, except that it adopts what
//      it would else have made.
//
// A restart without a service manager goes the same way, with the same program. A stop that is asked for meanwhile
// wins.
#include <fcntl.h>
#include <fmt/format.h>

#include "base/version.h"
#include "daemon/daemon.h"
#include "lifecycle/self_check.h"
#include "process/child.h"
#include "runtime/log.h"
#include "store/journal.h"

namespace talaria {
namespace json = boost::json;
namespace {

constexpr Millis check_time{10'000};
constexpr Millis check_grace{500};
constexpr std::size_t check_output = 64 * 1024;

json::object refused(std::string_view why, const std::string& reason) {
  return {{"ok", false}, {"why", why}, {"reason", reason}};
}

// What a program that fails its check said last, for the reason.
std::string last_words(const ChildResult& result) {
  std::string_view tail(result.err_tail);
  while (tail.ends_with('\n')) tail.remove_suffix(1);
  tail = tail.substr(tail.rfind('\n') + 1);
  if (tail.empty()) return {};
  return fmt::format(" ({})", tail.substr(0, 300));
}

}  // namespace

// Runs the program's self-check. The error's text is the reason of the refusal, `why` its kind.
Task<Result<Program>> Daemon::check_program(std::string path, std::string& why) {
  why = "program";
  auto program = look_at_program(path);
  if (!program) co_return program;
  ChildSpec spec{.command = {path}, .environment = {}, .hidden = {}, .working_directory = {}};
  if (options_.scope == Scope::system) spec.command.emplace_back("--system");
  for (const char* word : {"-p", options_.paths.profile.c_str(), "gateway", "self-check", "--handover"})
    spec.command.emplace_back(word);
  spec.command.push_back(std::to_string(handover_format));
  const auto ran = co_await run_child(std::move(spec), {}, check_output, Deadline::in(check_time), check_grace);
  if (!ran) co_return fail(ran.error().kind, fmt::format("its self-check failed: {}", ran.error().what));
  const auto check = parse_self_check(ran->out);
  if (!check) {
    const std::string how = ran->signal != 0 ? fmt::format("ended by signal {}", ran->signal)
                                             : fmt::format("ended with exit code {}", ran->exit_code);
    co_return fail(ErrorKind::invalid,
                   fmt::format("its self-check {} and {}{}", how, check.error().what, last_words(*ran)));
  }
  if (!check->ok) {
    why = check->why;
    co_return fail(ErrorKind::invalid, check->reason);
  }
  if (ran->exit_code != 0)
    co_return fail(ErrorKind::invalid, fmt::format("its self-check ended with exit code {}", ran->exit_code));
  program->version = check->version;
  co_return program;
}

Task<json::object> Daemon::upgrade(std::string path, std::string by) {
  if (life_.state() != LifeState::running || end_.asked())
    co_return refused("busy", fmt::format("the gateway is {}; ask again when it runs", to_string(life_.state())));
  if (checking_upgrade_) co_return refused("busy", "another upgrade is being checked");
  struct Checking {
    bool& flag;
    explicit Checking(bool& f) : flag(f) { flag = true; }
    ~Checking() { flag = false; }
  } checking(checking_upgrade_);

  if (path.empty()) {
    auto own = own_program();
    if (!own) co_return refused("program", own.error().what);
    path = std::move(*own);
  }
  log::info("upgrade: checking {}, asked by {}", path, by);
  std::string why;
  auto program = co_await check_program(path, why);
  if (!program) {
    log::warning("upgrade: {} is refused, version {} goes on: {}", path, program_version(), program.error().what);
    co_return refused(why, program.error().what);
  }
  if (end_.asked()) co_return refused("busy", "the gateway was told to end meanwhile");
  const json::object evidence{
      {"asked_by", by}, {"program", path}, {"from", program_version()}, {"to", program->version}};
  next_program_ = std::move(*program);
  end_.ask({{VerdictKind::upgrade, ExitCode::again,
             fmt::format("upgraded from {} to {}, asked by {}", program_version(), next_program_.version, by)},
            json::serialize(evidence),
            true});
  co_return json::object{{"ok", true}, {"from", program_version()}, {"to", next_program_.version}};
}

// The API's side of a departure: nobody new is let in, those who are being answered are answered to the end, everybody
// else is put aside. Ends early when somebody asks again.
Task<> Daemon::finish_exchanges(Deadline deadline) {
  if (!api_server_) co_return;
  if (gateway_) gateway_->hold_new_turns();
  api_server_->begin_hand_over();
  Event done(executor_);
  TaskGroup waiting(executor_);
  waiting.spawn("exchanges", [](HttpServer& server, Event& done) -> Task<> {
    co_await server.handed_over();
    done.set();
  }(*api_server_, done));
  waiting.spawn("second request", [](Event& again, Event& done) -> Task<> {
    co_await again.wait();
    done.set();
  }(end_.impatient(), done));
  if (!co_await done.wait(deadline))
    log::warning("{} exchanges did not end in time and are cut off", api_server_->exchanges());
  co_await waiting.stop();
}

// The same for who asks at the control socket, but shortly: most of them poll.
Task<> Daemon::finish_control() {
  control_server_->begin_hand_over();
  Event done(executor_);
  TaskGroup waiting(executor_);
  waiting.spawn("control", [](HttpServer& server, Event& done) -> Task<> {
    co_await server.handed_over();
    done.set();
  }(*control_server_, done));
  co_await done.wait(Deadline::in(std::chrono::milliseconds(500)));
  co_await waiting.stop();
}

// An upgrade's program has told its version; a restart's is found out when it runs.
std::string Daemon::next_version() const {
  return next_program_.version.empty() ? std::string(program_version()) : next_program_.version;
}

Departure Daemon::pack() {
  Departure departure{.program = next_program_, .luggage = {}, .children = {}, .environment = notifier_.taken()};
  if (departure.program.path.empty()) {
    // A restart: as a service manager would, with what is installed by now. If it can't be executed, we are.
    if (auto own = own_program()) {
      if (auto program = look_at_program(*own)) departure.program = std::move(*program);
    }
  }
  auto& luggage = departure.luggage;
  luggage.facts.self = self_;
  luggage.facts.from_version = program_version();
  luggage.facts.to_version = next_version();
  luggage.facts.run_id = next_run_id_;
  luggage.fds = listeners_.take_copies();
  const auto copy = [&luggage](const char* name, int fd) {
    if (fd >= 0) luggage.fds.push_back({name, UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 3))});
  };
  // Copies share the locks of the originals, and keep them.
  copy("lock", lock_->fd());
  copy("home", lock_->home_fd());
  pack_children(departure);
  const auto connections = [&luggage](const char* name, std::optional<HttpServer>& server) {
    if (!server) return;
    for (UniqueFd& fd : server->take_handed_over()) luggage.fds.push_back({name, std::move(fd)});
  };
  connections("api.connection", api_server_);
  connections("control.connection", control_server_);
  return departure;
}

void Daemon::pack_children(Departure& departure) {
  auto& luggage = departure.luggage;
  for (ChildInTransit& child : children_in_transit_) {
    const auto pack = [&](const char* what, UniqueFd fd) {
      if (fd) luggage.fds.push_back({fmt::format("child.{}.{}", child.number, what), std::move(fd)});
    };
    const auto pack_text = [&](const char* what, const std::string& text) {
      if (text.empty()) return;
      if (auto fd = text_as_fd(text)) pack(what, std::move(*fd));
    };
    pack("in", std::move(child.in));
    pack("out", std::move(child.out));
    pack("err", std::move(child.err));
    pack_text("input", child.input);
    pack_text("output", child.output);
    pack_text("errors", child.errors);
    const auto deadline = std::chrono::duration_cast<Millis>(child.deadline.at().time_since_epoch());
    luggage.facts.children.push_back({child.number, child.pid, deadline.count()});
  }
  departure.children = std::move(children_in_transit_);
}

// ---- The other side
// --------------------------------------------------------------------------------------------------------

// The home is ours already where the program before us held it. False: it was not, or no longer.
bool Daemon::adopt_home() {
  if (!luggage_) return false;
  auto lock = InstanceLock::adopt(options_.paths.state_directory, luggage_->take("lock"), luggage_->take("home"));
  if (!lock) {
    log::error("the home's lock was not handed over: {}", lock.error().what);
    return false;
  }
  lock_.emplace(std::move(*lock));
  if (!luggage_->facts.failure.empty())
    log::error("upgrade to {} failed: {}", luggage_->facts.to_version, luggage_->facts.failure);
  else if (luggage_->facts.from_version != program_version())
    log::info("upgraded from {} to {}", luggage_->facts.from_version, program_version());
  return true;
}

// Claimed before anybody reaps: the exit code of one that has ended meanwhile is its turn's.
void Daemon::receive_children() {
  for (const auto& facts : luggage_->facts.children) {
    const auto take = [&](const char* what) { return luggage_->take(fmt::format("child.{}.{}", facts.turn, what)); };
    ChildInTransit child;
    child.number = facts.turn;
    child.pid = static_cast<pid_t>(facts.pid);
    child.claim = ChildStart().claim(child.pid);
    child.in = take("in");
    child.out = take("out");
    child.err = take("err");
    child.input = take_text(take("input"));
    child.output = take_text(take("output"));
    child.errors = take_text(take("errors"));
    child.deadline = Deadline(SteadyClock::time_point(Millis(facts.deadline_ms)));
    children_->arrived(std::move(child));
  }
}

// Who takes up a turn goes on with its child. A turn that ended otherwise (its agent is another one by now, it was put
// aside) leaves it to us, and its time may be up before anybody comes.
Task<> Daemon::end_unwanted_children() {
  for (auto waiting = children_->waiting(); !waiting.empty(); waiting = children_->waiting()) {
    auto wanted = co_await store_->read([waiting](Database& db) { return open_turns_of(db, waiting); });
    if (const int ended = wanted ? children_->end_unwanted(*wanted) : 0; ended > 0)
      log::warning("{} processes of agents were ended: nobody went on with their turns", ended);
    co_await sleep_for(std::chrono::seconds(1));
  }
}

void Daemon::adopt_connections(const char* name, HttpServer& server) {
  if (!luggage_) return;
  for (UniqueFd& fd : luggage_->take_all(name)) server.adopt(std::move(fd));
}

}  // namespace talaria
