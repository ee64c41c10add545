#pragma once
// sd_notify(3): what the manager is told. Every call is a no-op without NOTIFY_SOCKET. The variable is taken out of the
// environment at construction so that no child inherits it.

#include <cstdint>
#include <string>

#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "service/ready_fd.h"

namespace talaria {

class Notifier {
 public:
  Notifier();
  [[nodiscard]] bool active() const { return !socket_.empty(); }
  void ready(std::string_view status) const;     // READY=1, STATUS=
  void status(std::string_view status) const;    // STATUS=, one line
  void stopping(std::string_view status) const;  // STOPPING=1
  void reloading() const;                        // RELOADING=1, MONOTONIC_USEC=; ready() ends it
  void extend(Millis by) const;                  // EXTEND_TIMEOUT_USEC=
  void watchdog() const;                         // WATCHDOG=1
  // FDSTORE=1, FDNAME=: the manager keeps a copy of the descriptor over a crash and a restart and gives it to the next
  // process (service/fd_store.h). FDPOLL=0: also when its peer hangs up. A full or unwilling store drops it silently.
  void store(std::string_view name, int fd) const;
  void remove_stored(std::string_view name) const;  // FDSTOREREMOVE=1
  // WATCHDOG_USEC when it is meant for our PID; zero: none.
  [[nodiscard]] Millis watchdog_interval() const { return watchdog_; }
  // The variables that construction took away, for a program that takes this process over (execve(2)).
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& taken() const { return taken_; }

 private:
  void send(std::string_view state, int fd = -1) const;
  std::string take(const char* name);
  Millis take_watchdog();
  std::vector<std::pair<std::string, std::string>> taken_;
  std::string socket_;
  mutable ReadyFd ready_fd_;  // s6's way
  Millis watchdog_{0};
};

}  // namespace talaria
