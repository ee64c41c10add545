#pragma once
// The command line's side of the manager: what systemctl would do, over D-Bus, synchronously and bounded. For processes
// that have nothing else to do meanwhile; the gateway itself asks with manager.h.
//
// A job (start, stop, restart) is finished when the manager says so with the signal JobRemoved, which names its result.
// The private socket broadcasts its signals; a bus wants Subscribe() and a match rule first, before the job is made.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/deadline.h"
#include "service/bus.h"

namespace talaria {

struct UnitState {
  std::string load_state;     // loaded, not-found, bad-setting, masked, error
  std::string active_state;   // active, activating, inactive, failed …
  std::string sub_state;      // running, auto-restart, dead …
  std::string result;         // success, exit-code, timeout …
  std::string status_text;    // the service's own words
  std::string fragment_path;  // of the unit file
  int main_pid = 0;
  int exec_main_code = 0;    // CLD_EXITED, CLD_KILLED … (sigaction(2)); 0: never ran, or runs
  int exec_main_status = 0;  // exit code or signal
  std::uint64_t timeout_stop_usec = 0;
  bool need_daemon_reload = false;
  std::string unit_file_state;             // enabled, disabled, static, masked …
  std::vector<std::string> drop_in_paths;  // in the order in which they count
  std::vector<std::string> environment;    // Environment=, "NAME=value", specifiers resolved
  std::vector<std::string> command;        // of ExecStart=, specifiers resolved
  std::string type;                        // Type=
  std::string user;                        // User=; empty: the manager's own
  std::string restart;                     // Restart=
  std::string kill_mode;                   // KillMode=
  std::uint64_t start_limit_interval_usec = 0;
  std::uint32_t start_limit_burst = 0;
  std::uint32_t restarts = 0;  // NRestarts: automatic ones since an operator's last start

  [[nodiscard]] bool loaded() const { return load_state == "loaded"; }
  [[nodiscard]] bool up() const { return active_state != "inactive" && active_state != "failed"; }
  [[nodiscard]] bool enabled() const { return unit_file_state.starts_with("enabled"); }
  // Starts are counted, and refused when there were too many (systemd.unit(5), StartLimitIntervalSec=).
  [[nodiscard]] bool has_start_limit() const { return start_limit_interval_usec > 0 && start_limit_burst > 0; }
};

enum class JobKind { start, stop, restart };
enum class JobResult {
  done,      // start: READY was said; stop: the unit is inactive
  failed,    // the unit failed, or a dependency did
  canceled,  // another job took its place
  timeout,   // the job's own time-out
  pending,   // our deadline ran out; the job goes on
};

class UnitControl {
 public:
  // Connects to the first endpoint that answers. unavailable: none does, with the reason of each.
  [[nodiscard]] static Result<UnitControl> connect(const std::vector<BusEndpoint>& endpoints, Deadline deadline);
  // Of a scope, from this process's environment. not_found: no systemd here.
  [[nodiscard]] static Result<UnitControl> connect(ManagerKind manager, Deadline deadline);
  UnitControl(UnitControl&&) = default;
  UnitControl& operator=(UnitControl&&) = default;

  [[nodiscard]] Result<std::string> version(Deadline deadline);                       // "252.39-1~deb12u2"
  [[nodiscard]] Result<std::vector<std::string>> environment(Deadline deadline);      // the manager's own, "NAME=value"
  [[nodiscard]] Result<std::vector<std::string>> unit_path(Deadline deadline);        // directories of unit files
  [[nodiscard]] Result<UnitState> state(const std::string& unit, Deadline deadline);  // loads the unit
  [[nodiscard]] Result<> reload(Deadline deadline);                                   // systemctl daemon-reload
  [[nodiscard]] Result<> enable(const std::string& unit, Deadline deadline);
  [[nodiscard]] Result<> disable(const std::string& unit, Deadline deadline);
  [[nodiscard]] Result<> reset_failed(const std::string& unit, Deadline deadline);
  // Units whose names match, and that are loaded: (name, active state).
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> list(const std::string& pattern,
                                                                              Deadline deadline);
  // permission: not allowed to. Waits for the job's end.
  [[nodiscard]] Result<JobResult> run_job(JobKind kind, const std::string& unit, Deadline deadline);

  [[nodiscard]] const std::string& via() const { return via_; }

 private:
  // Jobs that ended: object → result. On the heap, because sd-bus's slot points to it.
  struct Jobs {
    std::map<std::string, std::string> ended;
    static int on_removed(sd_bus_message* message, void* userdata, sd_bus_error*);
  };
  UnitControl(BusPtr bus, std::string via);
  [[nodiscard]] Result<> wait_ready(Deadline deadline);
  [[nodiscard]] Result<> pump(Deadline deadline);  // one round: process, or wait
  [[nodiscard]] Result<MessagePtr> call(sd_bus_message* message, const std::string& tried, Deadline deadline);
  [[nodiscard]] Result<MessagePtr> make_call(const char* member) const;
  [[nodiscard]] Result<MessagePtr> manager_property(const char* name, Deadline deadline);
  [[nodiscard]] Result<std::vector<std::string>> manager_list(const char* name, Deadline deadline);
  [[nodiscard]] Result<> simple_call(const char* member, const std::string& unit, const std::string& tried,
                                     Deadline deadline);
  [[nodiscard]] Result<> unit_files_call(const char* member, const std::string& unit, Deadline deadline);
  [[nodiscard]] Result<> read_properties(const std::string& object, const char* interface, UnitState& into,
                                         Deadline deadline);
  [[nodiscard]] Result<> listen_for_jobs(Deadline deadline);

  // Members are destroyed from the last to the first: the slot before the bus.
  std::unique_ptr<Jobs> jobs_;
  BusPtr bus_;
  SlotPtr job_slot_;
  std::string via_;
};

}  // namespace talaria
