#pragma once
// Where this incarnation stands: one enum of states, one table of their names, one enter_…() for each. Every change is
// told to the service manager at once, so that what it shows is what is.

#include <functional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "service/notify.h"

namespace talaria {

enum class LifeState { starting, standby, backing_off, running, draining };
[[nodiscard]] std::string_view to_string(LifeState state);

class Life {
 public:
  explicit Life(const Notifier& notifier) : notifier_(notifier) {}

  // Something that is needed can't be had yet: named in the status line, retried by the caller, and the manager's start
  // time-out is extended. Never READY.
  void enter_starting(std::string waiting_for);
  // Another incarnation owns the home; we wait for it and say so. READY, so that no start job hangs.
  void enter_standby(std::string waiting_for);
  // The runs before this one failed; we wait before we try again. Not READY; to be renewed at least every 10 s.
  void enter_backing_off(std::string why);
  void enter_running(std::string detail);
  void enter_draining(std::string why);
  // Drains, but this process goes on as another program: to the manager it never stops.
  void enter_changing(std::string why);

  [[nodiscard]] LifeState state() const { return state_; }
  [[nodiscard]] const std::string& detail() const { return detail_; }

 private:
  const Notifier& notifier_;
  LifeState state_ = LifeState::starting;
  std::string detail_;
};

}  // namespace talaria
