// The story of a run, in order. Every step that needs something which may be away for a while (a disk that is full, a
// port that is taken) waits for it inside the process, says so to the service manager, and ends at once when the run is
// told to end.
#include "daemon/gateway_main.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <memory>

#include "base/say.h"
#include "base/stack_dump.h"
#include "config/loading.h"
#include "daemon/daemon.h"
#include "daemon/departure.h"
#include "daemon/stop_guard.h"
#include "lifecycle/crash_handler.h"
#include "net/resolve.h"
#include "process/descendants.h"
#include "runtime/log.h"

namespace talaria {
namespace {

// 78 is final: every mistake is named, nothing has been touched.
int report_mistakes(const LoadOutcome& loaded, const std::string& path) {
  for (const Diagnostic& diagnostic : loaded.diagnostics) say("{}\n", to_string(diagnostic));
  say("talaria: {} mistake{} in {}; mend {} and start again (`talaria config check` looks without starting)\n",
      loaded.diagnostics.size(), loaded.diagnostics.size() == 1 ? "" : "s", path,
      loaded.diagnostics.size() == 1 ? "it" : "them");
  return static_cast<int>(ExitCode::config);
}

// Secrets are in our memory: no core dump, no ptrace by others of this user (prctl(2), PR_SET_DUMPABLE).
void keep_secrets() { ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

// The soft limit of descriptors is 1024 for the sake of programs that use select(2); many turns and clients need more.
// Children get it with the rest: no more than the unit gives them anyway.
void raise_descriptor_limit(const Config& config) {
  constexpr rlim_t wanted = 16'384;  // as in the unit
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = std::min(wanted, limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  constexpr rlim_t of_a_turn = 5;  // its client, three pipes and a pidfd
  const rlim_t needed = of_a_turn * static_cast<rlim_t>(config.gateway.max_concurrent_turns) +
                        static_cast<rlim_t>(config.api.max_connections) + 64;
  if (needed > limit.rlim_cur)
    log::warning(
        "gateway.max_concurrent_turns and api.max_connections may need {} descriptors, and the limit is {} "
        "(LimitNOFILE= of the unit, `ulimit -n`): what is beyond it fails",
        needed, limit.rlim_cur);
}

}  // namespace

GatewayExit gateway_main(GatewayOptions options) {
  // Before anything opens a descriptor.
  auto luggage = take_handover();
  auto inherited = take_inherited_fds();
  if (!luggage) {
    say("talaria: {}\n", luggage.error().what);
    kill_descendants(Deadline::in(std::chrono::seconds(2)));  // whoever they were to go on for
    return {.code = static_cast<int>(ExitCode::again)};
  }
  block_signals();
  handle_crashes();
  ::mallopt(M_ARENA_MAX, 1);  // two busy threads: an arena for each would only hold memory twice
  ::umask(0077);

  LoadOutcome loaded = load_config_file(options.paths.config_file);
  Wiring wiring;
  if (loaded.ok()) wiring = resolve_secrets(loaded, options.paths.config_file);
  if (!loaded.ok()) {
    const int code = report_mistakes(loaded, options.paths.config_file);
    if (*luggage)
      give_up(**luggage, options.paths.state_directory,
              {VerdictKind::config, ExitCode::config,
               "the configuration had become wrong: " + to_string(loaded.diagnostics.front())});
    return {.code = code};
  }
  keep_secrets();
  log::start(options.paths.profile, options.verbose ? log::Level::debug : log::Level::info);
  prepare_stack_dump();
  raise_descriptor_limit(loaded.config);

  GatewayExit exit{.code = static_cast<int>(ExitCode::unplanned)};
  StopGuard stop_guard;  // to the very end: destructors may hang too
  auto loop = std::make_unique<asio::io_context>(1);
  auto daemon = std::make_unique<Daemon>(loop->get_executor(), std::move(options), std::move(loaded.config),
                                         std::move(wiring), stop_guard, std::move(inherited), std::move(*luggage));
  asio::co_spawn(*loop, daemon->run(), [&](std::exception_ptr bug, GatewayExit ended) {
    exit = std::move(ended);
    if (bug) {
      exit = {.code = static_cast<int>(ExitCode::unplanned), .left_tasks = true};
      try {
        std::rethrow_exception(bug);
      } catch (const std::exception& e) {
        log::error("internal error: {}", e.what());
      }
    }
    loop->stop();
  });
  loop->run();
  if (exit.left_tasks) {
    // A task that would not end still points into these; the process is about to end and takes all of it.
    (void)daemon.release();
    (void)loop.release();
  }
  daemon.reset();
  if (lookups_in_progress()) (void)loop.release();  // its destructor would wait for the name servers
  loop.reset();
  log::stop();
  return exit;
}

}  // namespace talaria
