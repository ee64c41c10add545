#pragma once
// The daemon: what one run owns, and the steps from the first to the last. Members are in the order of their making;
// what is used by others is made before them and outlives them.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "api/api_server.h"
#include "api/control.h"
#include "config/compare.h"
#include "config/loading.h"
#include "daemon/gateway_main.h"
#include "daemon/listeners.h"
#include "daemon/stop_guard.h"
#include "daemon/watch.h"
#include "daemon/wiring.h"
#include "gateway/gateway.h"
#include "lifecycle/end.h"
#include "lifecycle/life.h"
#include "lifecycle/run_phases.h"
#include "lifecycle/signals.h"
#include "lifecycle/stop_budget.h"
#include "net/http_server.h"
#include "net/listen.h"
#include "net/network_watch.h"
#include "process/descendants.h"
#include "process/instance_lock.h"
#include "runtime/task_group.h"
#include "service/manager.h"
#include "service/notify.h"
#include "store/runs.h"
#include "store/store.h"

namespace talaria {

// Connections at the control socket at a time: commands, and `send` that waits for its delivery.
inline constexpr std::size_t control_connections = 64;

class Daemon {
 public:
  // `stop_guard` outlives the event loop: what is destroyed after us may get stuck too.
  // `inherited`: descriptors that earlier processes of this unit left with the manager; `luggage`: what the program
  // before us in this very process left.
  Daemon(asio::any_io_executor executor, GatewayOptions options, Config config, Wiring wiring, StopGuard& stop_guard,
         std::vector<InheritedFd> inherited, std::optional<Luggage> luggage);

  Task<GatewayExit> run();

 private:
  // The steps of a start. False: the run was told to end, or can't go on; the End says why.
  Task<bool> claim_home();
  Task<bool> take_over_home();
  Task<bool> stand_by();
  Task<bool> open_control_socket();
  Task<bool> write_lock_record();
  Task<bool> open_store();
  Task<bool> back_off();
  Task<bool> wait_out(Millis delay, int failures);
  Task<bool> listen_api();
  Task<bool> start_gateway();

  [[nodiscard]] Result<> try_home();
  [[nodiscard]] Result<> try_lock();

  // Tries until it succeeds, waiting out what may pass. `what` names the resource for status and log. An attempt that
  // hangs (a store on a slow disk) delays no stop: it is left behind, so it must own what it captures.
  Task<bool> wait_for(std::string what, std::function<Task<Result<>>()> attempt);
  struct Attempt;
  // Nothing: the run was told to end before that.
  Task<std::optional<Result<>>> try_once(std::string what, std::function<Task<Result<>>()> attempt);
  void end_for_good(const Error& error, ExitCode code);

  Task<GatewayExit> stop();
  // The steps of a stop, in their order (daemon_stop.cpp).
  struct Stopping;
  Task<> let_nobody_in(Stopping& stopping);
  Task<> settle_listeners(Stopping& stopping);
  Task<> drain_turns(Stopping& stopping);
  Task<> send_answers(Stopping& stopping);
  Task<> end_agents(Stopping& stopping);
  Task<> end_leftovers(Stopping& stopping, Millis grace);
  Task<> end_deliveries(Stopping& stopping);
  Task<> record_end(Stopping& stopping);
  Task<> write_end(RunEnd ended, bool departs);
  Task<> heed_second_signal(Stopping& stopping);
  Task<> learn_stop_limit(Stopping& stopping);
  Task<> ask_stop_limit();
  Task<bool> in_time(std::string what, Task<> work, Deadline deadline);
  [[nodiscard]] StopBudget::Limits stop_limits() const;
  // A change of programs (daemon/upgrade.cpp).
  Task<boost::json::object> upgrade(std::string path, std::string by);
  Task<Result<Program>> check_program(std::string path, std::string& why);
  Task<> finish_exchanges(Deadline deadline);
  Task<> finish_control();
  void pack_children(Departure& departure);
  void receive_children();
  Task<> end_unwanted_children();
  [[nodiscard]] std::string next_version() const;
  [[nodiscard]] Departure pack();
  bool adopt_home();
  void adopt_connections(const char* name, HttpServer& server);
  [[nodiscard]] RunEnd run_end(const End& end) const;
  void tell_end_without_store(const RunEnd& end);
  [[nodiscard]] Watch::Parts watched();
  [[nodiscard]] Result<> listen_control();
  Task<> keep_home();
  Task<> watch_network();
  // Did a person ask for this start, rather than a manager that restarts what has ended?
  Task<bool> operator_asked();
  Task<> retire_old_rows();
  Task<> name_duplicates();

  [[nodiscard]] RunRow this_run(std::string version, UnixMillis started_at) const;
  // Another configuration for the running gateway (daemon_reload.cpp).
  struct Candidate {
    LoadOutcome loaded;
    Wiring wiring;
    ConfigChanges changes;
    std::optional<Listener> listener;  // when the API listens elsewhere
  };
  Task<HttpResponse> reload(std::string by);
  void reload_for_hangup(int sender_pid);
  void reread_in_standby();
  [[nodiscard]] Candidate read_candidate();
  [[nodiscard]] std::expected<std::vector<std::string>, std::vector<Diagnostic>> change_configuration(
      const std::string& by);
  void apply(Candidate candidate);
  void move_api(std::optional<Listener> listener);
  [[nodiscard]] HttpServerLimits api_limits() const;
  void make_api_server();
  [[nodiscard]] std::string running_words() const;
  [[nodiscard]] boost::json::array warnings() const;

  // A restart asked for from inside (daemon_restart.cpp).
  [[nodiscard]] LoadOutcome check_restart() const;
  [[nodiscard]] CommandDesk command_desk();
  void ask_restart(const std::string& by);
  Task<> restart_after(std::string by, std::int64_t goodbye);

  [[nodiscard]] bool ready() const;
  [[nodiscard]] boost::json::object status() const;
  [[nodiscard]] DaemonView view();
  [[nodiscard]] ControlActions control_actions();
  Result<> leave(const std::string& target, const std::string& by);

  asio::any_io_executor executor_;
  const GatewayOptions options_;
  Config config_;  // a reload assigns it
  Wiring wiring_;
  StopGuard& stop_guard_;
  SystemWallClock clock_;
  const UnixMillis started_at_;
  const Incarnation self_;

  const Supervision supervision_;
  const Notifier notifier_;
  std::optional<Luggage> luggage_;
  const std::shared_ptr<ChildHandover> children_;
  Listeners listeners_;
  Life life_;
  RunPhases phases_;
  EndRequest end_;
  Event start_now_;  // an operator's wish: no back-off
  UnixMillis backoff_until_ = 0;
  NetworkWatch network_;
  AnnouncementDesk desk_;
  SignalReader signals_;
  std::optional<Error> final_error_;
  std::optional<Millis> stop_limit_;  // TimeoutStopSec= as the manager told it after the start

  std::optional<InstanceLock> lock_;
  std::string standby_for_;  // empty: we own the home, or nobody does
  std::optional<Store> store_;
  std::int64_t run_id_ = 0;
  std::int64_t next_run_id_ = 0;  // begun for the program that goes on after us
  Program next_program_;
  bool checking_upgrade_ = false;
  std::vector<ChildInTransit> children_in_transit_;
  std::vector<RunRow> earlier_runs_;  // newest first; until back_off() has looked at them
  std::optional<boost::json::object> last_end_;
  std::string manager_job_;  // what the manager was doing when we were told to end; empty: not known
  int cut_off_ = 0;          // turns
  DescendantsEnd left_behind_;
  std::string api_address_;
  struct Reloads {
    bool running = false;
    bool wanted = false;  // a SIGHUP that came too early, or during another reload
    UnixMillis applied_at = 0;
    UnixMillis refused_at = 0;
    std::vector<std::string> mistakes;  // why the last one was refused; empty: it was not
  } reloads_;
  Event reload_done_;
  bool restart_asked_ = false;  // in a chat, and its goodbye is on its way
  UniqueFd api_listener_;       // listens, and nobody accepts yet

  std::optional<Gateway> gateway_;
  ControlRouter control_router_;
  ApiRouter api_router_;
  std::optional<HttpServer> control_server_;
  std::optional<HttpServer> api_server_;
  std::optional<Watch> watch_;
  TaskGroup tasks_;
};

}  // namespace talaria
