#include "daemon/daemon.h"

#include <malloc.h>

#include <algorithm>

#include "process/reaper.h"
#include "runtime/log.h"
#include "store/attachment_files.h"
#include "store/journal.h"

namespace talaria {
namespace {

Incarnation who_am_i() {
  auto self = this_incarnation();
  return self ? *self : Incarnation{};
}

}  // namespace

Daemon::Daemon(asio::any_io_executor executor, GatewayOptions options, Config config, Wiring wiring,
               StopGuard& stop_guard, std::vector<InheritedFd> inherited, std::optional<Luggage> luggage)
    : executor_(executor),
      options_(std::move(options)),
      config_(std::move(config)),
      wiring_(std::move(wiring)),
      stop_guard_(stop_guard),
      started_at_(clock_.now()),
      self_(who_am_i()),
      supervision_(find_supervision()),
      luggage_(std::move(luggage)),
      children_(std::make_shared<ChildHandover>(executor)),
      listeners_(notifier_, std::move(inherited)),
      life_(notifier_),
      end_(executor),
      start_now_(executor),
      network_(executor),
      desk_(self_, options_.paths.runtime_directory),
      signals_(executor, supervision_, desk_, end_),
      reload_done_(executor),
      control_router_(view(), control_actions()),
      api_router_(KeyRing(wiring_.api_keys), view(), !config_.api.allow_public),
      tasks_(executor,
             [](std::string_view task, std::string_view what) { log::error("{}: internal error: {}", task, what); }) {}

Task<GatewayExit> Daemon::run() {
  phases_.enter("starting");
  if (luggage_) {
    receive_children();
    for (const char* name : {"api", "control"}) listeners_.inherit(name, luggage_->take(name));
  }
  if (auto ok = signals_.open(); !ok) {
    log::error("{}", ok.error().what);
    co_return GatewayExit{.code = static_cast<int>(ExitCode::unplanned)};
  }
  if (auto ok = adopt_orphans(); !ok) log::warning("{}", ok.error().what);
  signals_.on_hangup([this](int sender_pid) { reload_for_hangup(sender_pid); });
  tasks_.spawn("signals", signals_.run());
  if (auto ok = network_.open(); ok) {
    tasks_.spawn("network", watch_network());
  } else {
    log::warning("{}; delays are waited out when the network comes back", ok.error().what);
  }
  watch_.emplace(executor_, watched());
  tasks_.spawn("watchdog", watch_->run());

  const bool started = co_await claim_home() && co_await open_control_socket() && co_await write_lock_record() &&
                       co_await open_store() && co_await back_off() && co_await listen_api() &&
                       co_await start_gateway();
  if (started) {
    tasks_.spawn("retention", retire_old_rows());
    tasks_.spawn("children", end_unwanted_children());
    if (reloads_.wanted) reload_for_hangup(0);
    if (supervision_.by_systemd()) tasks_.spawn("stop limit", ask_stop_limit());
    tasks_.spawn("duplicates", name_duplicates());
    co_await end_.event().wait();
  }
  co_return co_await stop();
}

Watch::Parts Daemon::watched() {
  return {
      .notifier = &notifier_,
      .self = self_,
      .control_socket = options_.paths.control_socket(),
      // A start may take its time with the store (a migration, a recovery); it tells the manager so itself.
      .store = [this] { return store_ && life_.state() == LifeState::running ? &*store_ : nullptr; },
      .control_is_open =
          [this] { return control_server_ && control_server_->connections() < control_connections && !end_.asked(); },
      .reopen_control = [this] { return listen_control(); },
      .status_detail = [this] { return life_.detail(); }};
}

// A lock file that somebody deleted is made anew, for those who ask; a home that is gone is the end.
Task<> Daemon::keep_home() {
  for (;;) {
    co_await sleep_for(std::chrono::seconds(1));
    if (lock_->path_is_ours()) continue;
    auto restored = lock_->restore();
    if (restored) {
      log::warning("{}/gateway.lock was deleted or replaced; it is ours again", options_.paths.state_directory);
    } else if (restored.error().kind == ErrorKind::not_found || restored.error().kind == ErrorKind::conflict) {
      end_.ask({{VerdictKind::unplanned, ExitCode::unplanned, restored.error().what}, "{}"});
      co_return;
    }
  }
}

Task<> Daemon::watch_network() {
  TaskGroup hearing(executor_);
  hearing.spawn("routes", network_.run());
  for (;;) {
    co_await network_.back().wait();
    if (gateway_) gateway_->network_is_back();
  }
}

Task<> Daemon::retire_old_rows() {
  for (;;) {
    // A store that keeps things for minutes is swept more often than one that keeps them for a month.
    co_await sleep_for(std::clamp(config_.store.retention / 10, Millis{1'000}, Millis{600'000}));
    const UnixMillis before = clock_.now() - config_.store.retention.count();
    (void)co_await store_->read([directory = options_.paths.attachments(), before](Database&) -> Result<int> {
      return retire_attachment_files(directory, before);
    });
    int gone = 0;
    do {  // in small steps, so that messages never wait behind the broom
      auto retired = co_await store_->write([before](Database& db) { return retire(db, before, 200); });
      gone = retired ? *retired : 0;
    } while (gone > 0);
    // What a burst of messages took is given back (malloc_trim(3)), on the store's thread: it walks through all the
    // heap.
    (void)co_await store_->read([](Database&) -> Result<int> { return ::malloc_trim(0); });
  }
}

bool Daemon::ready() const { return life_.state() == LifeState::running && !end_.asked(); }

}  // namespace talaria
