#pragma once
// Signals are read from a signalfd in the event loop (signalfd(2)); nothing but async-signal-safe work happens outside
// it. They are blocked first thing in the process, so that one that comes early waits instead of killing.

#include <functional>
#include <memory>
#include <optional>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "lifecycle/end.h"
#include "process/identity.h"
#include "runtime/task_group.h"

namespace talaria {

// Blocks SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT and SIGCHLD in this thread and those it starts; ignores SIGPIPE.
// Call before any thread.
void block_signals();

// Where announcements arrive: the control socket hands them in, the marker file is looked at when a signal comes.
class AnnouncementDesk {
 public:
  AnnouncementDesk(Incarnation self, std::string runtime_directory)
      : self_(std::move(self)), runtime_directory_(std::move(runtime_directory)) {}
  // invalid: not for this incarnation.
  Result<> announce(const std::string& target, const std::string& by);
  // The valid announcement, consumed.
  [[nodiscard]] std::optional<Announcement> take();

 private:
  Incarnation self_;
  std::string runtime_directory_;
  std::optional<Announcement> pending_;
};

// Reads signals until cancelled; SIGTERM, SIGINT and SIGQUIT become an End with its verdict. SIGCHLD reaps the children
// that nobody waits for.
class SignalReader {
 public:
  SignalReader(asio::any_io_executor executor, Supervision supervision, AnnouncementDesk& desk, EndRequest& end);
  [[nodiscard]] Result<> open();
  // Called for each SIGHUP; the PID is the sender's, 0: the kernel, or from outside our PID namespace. Without it a
  // hangup means nothing: it must not end a service.
  void on_hangup(std::function<void(int sender_pid)> react) { on_hangup_ = std::move(react); }
  Task<> run();
  // Pulsed after SIGCHLD, when the dead are reaped.
  [[nodiscard]] Event& child_ended() { return child_ended_; }
  // Waits until every signal that was read has its verdict.
  Task<> judged(Deadline deadline) { (void)co_await judging_.join(deadline); }

 private:
  struct Received;
  Task<> judge(Received received);
  Task<bool> sigcont_follows(int sender_pid, Deadline deadline);

  asio::any_io_executor executor_;
  Supervision supervision_;
  AnnouncementDesk& desk_;
  EndRequest& end_;
  asio::posix::stream_descriptor fd_;
  std::function<void(int)> on_hangup_;
  int continued_by_ = 0;  // sender of the last SIGCONT
  Event continued_;
  Event child_ended_;
  TaskGroup judging_;
};

}  // namespace talaria
