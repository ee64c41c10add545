#pragma once
// sd_notify(3): what the manager is told. Every call is a no-op without NOTIFY_SOCKET. The variable is taken out of the
// environment at construction so that no child inherits it.

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/time.h"

namespace talaria {

class Notifier {
 public:
  Notifier();
  [[nodiscard]] bool active() const { return !socket_.empty(); }
  void ready(std::string_view status) const;     // READY=1, STATUS=
  void status(std::string_view status) const;    // STATUS=, one line
  void stopping(std::string_view status) const;  // STOPPING=1
  void extend(Millis by) const;                  // EXTEND_TIMEOUT_USEC=
  void watchdog() const;                         // WATCHDOG=1
  // WATCHDOG_USEC when it is meant for our PID; zero: none.
  [[nodiscard]] Millis watchdog_interval() const { return watchdog_; }

 private:
  void send(std::string_view state) const;
  std::string socket_;
  Millis watchdog_{0};
};

}  // namespace talaria
