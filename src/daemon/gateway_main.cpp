// The story of a run, in order. Every step that needs something which may be away for a while (a disk that is full, a
// port that is taken) waits for it inside the process, says so to the service manager, and ends at once when the run is
// told to end.
#include "daemon/gateway_main.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <memory>

#include "config/loading.h"
#include "daemon/daemon.h"
#include "daemon/stop_guard.h"
#include "lifecycle/crash_handler.h"
#include "runtime/log.h"

namespace talaria {
namespace {

// 78 is final: every mistake is named, nothing has been touched.
int report_mistakes(const LoadOutcome& loaded, const std::string& path) {
  for (const Diagnostic& diagnostic : loaded.diagnostics) fmt::print(stderr, "{}\n", to_string(diagnostic));
  fmt::print(stderr,
             "talaria: {} mistake{} in {}; mend {} and start again (`talaria config check` looks without starting)\n",
             loaded.diagnostics.size(), loaded.diagnostics.size() == 1 ? "" : "s", path,
             loaded.diagnostics.size() == 1 ? "it" : "them");
  return static_cast<int>(ExitCode::config);
}

// Secrets are in our memory: no core dump, no ptrace by others of this user (prctl(2), PR_SET_DUMPABLE).
void keep_secrets() { ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

}  // namespace

GatewayExit gateway_main(GatewayOptions options) {
  // Before anything opens a descriptor.
  auto luggage = take_handover();
  auto inherited = take_inherited_fds();
  if (!luggage) {
    fmt::print(stderr, "talaria: {}\n", luggage.error().what);
    return {.code = static_cast<int>(ExitCode::again)};
  }
  block_signals();
  handle_crashes();
  ::mallopt(M_ARENA_MAX, 2);  // few threads, little memory
  ::umask(0077);

  LoadOutcome loaded = load_config_file(options.paths.config_file);
  Wiring wiring;
  if (loaded.ok()) wiring = resolve_secrets(loaded, options.paths.config_file);
  if (!loaded.ok()) return {.code = report_mistakes(loaded, options.paths.config_file)};
  keep_secrets();
  log::start(options.paths.profile, options.verbose ? log::Level::debug : log::Level::info);

  GatewayExit exit{.code = static_cast<int>(ExitCode::unplanned)};
  StopGuard stop_guard;  // to the very end: a name look-up that hangs is joined by the loop's destructor
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
  loop.reset();
  log::stop();
  return exit;
}

}  // namespace talaria
