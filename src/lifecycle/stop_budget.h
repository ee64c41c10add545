#pragma once
// How long a stop may take, and when more time is asked for.
//
//   begun                        drain()            end()     guard()   what the manager allows
//     |------ running turns -------|---- closing -----|-- spare --|-- spare --|
//
// The manager kills what has not ended after TimeoutStopSec= (systemd.service(5)), so everything is counted back from
// there: a spare time for a thread that is stuck to be found, dumped and abandoned, and the closing time, in which
// agents end, deliveries finish and the store closes. What is left is for running turns, up to gateway.drain_timeout.
//
// A drain_timeout longer than that is no promise: the manager is asked for more (EXTEND_TIMEOUT_USEC=, sd_notify(3))
// only while turns make progress, a little at a time. A turn that hangs gets what the unit allows and not a second
// more. Pure arithmetic; times are passed in.

#include <optional>

#include "runtime/deadline.h"

namespace talaria {

class StopBudget {
 public:
  using Time = SteadyClock::time_point;
  struct Limits {
    Millis drain_timeout{0};        // gateway.drain_timeout
    std::optional<Millis> manager;  // from the signal to its SIGKILL; none: nobody kills us
    bool extendable = false;        // it listens to EXTEND_TIMEOUT_USEC=
  };
  StopBudget(Time begun, Limits limits) : begun_(begun), limits_(limits) { count(); }

  // What the manager allows is known better now; the extensions that it granted stay.
  void set_manager(std::optional<Millis> manager);

  // Until then running turns may go on, as things stand.
  [[nodiscard]] Time drain() const;
  // Something moved. Returns for how long from now the manager is to be asked to wait; none: no need.
  [[nodiscard]] std::optional<Millis> progress(Time now);
  // No turn runs any more, or they are waited for no longer: closing begins.
  void drained(Time now) { drained_ = now; }
  // A second signal: everything that is left has two seconds.
  void cut_short(Time now);

  // Everything has ended by then.
  [[nodiscard]] Time end() const;
  // When the process is ended by force, so that nobody else has to.
  [[nodiscard]] Time guard() const { return end() + spare_ / 2; }
  // How long that may take.
  [[nodiscard]] Millis last_act() const { return spare_ / 3; }
  // The deadline of one step of closing that begins now and takes at most `usual` where there is time enough.
  [[nodiscard]] Deadline step(Millis usual, Time now) const;

 private:
  void count();

  Time begun_;
  Limits limits_;
  Millis closing_{0};
  Millis spare_{0};
  std::optional<Time> allowed_;  // the manager's last moment
  std::optional<Time> drained_;
  std::optional<Time> cut_;
};

}  // namespace talaria
