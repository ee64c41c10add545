#pragma once
// Who may run now: one turn at a time per session, first in first out; sessions run concurrently under a global cap
// (R6). A Ticket is a place in its session's lane, taken when the turn is accepted; it is granted when it is first in
// its lane and a slot is free, and frees both when it goes. Nothing is kept for a session without tickets. One event
// loop thread.

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "runtime/event.h"

namespace talaria {

class TurnScheduler {
 public:
  class Ticket;

  // `moved` is called whenever fewer may wait than before: a ticket was granted or went, or the cap was changed.
  TurnScheduler(asio::any_io_executor executor, int max_running, std::function<void()> moved)
      : executor_(std::move(executor)), max_running_(max_running), moved_(std::move(moved)) {}
  TurnScheduler(const TurnScheduler&) = delete;
  TurnScheduler& operator=(const TurnScheduler&) = delete;

  // A place in the lane of `session`; an empty key is a lane of its own. Never fails; bound the number of tickets
  // outside.
  [[nodiscard]] std::unique_ptr<Ticket> enqueue(std::string session);

  // Nothing more is granted, and whoever waits is told so (wait() returns false): the drain.
  void hold();
  // Fewer than run now: nothing is granted until enough of them have ended.
  void set_max_running(int max_running) {
    max_running_ = max_running;
    grant_next();
  }

  [[nodiscard]] int running() const { return running_; }
  [[nodiscard]] std::size_t waiting() const { return not_granted_.size(); }

 private:
  struct Lane {
    std::deque<Ticket*> tickets;  // the first one runs or is about to
  };
  void offer(Ticket& ticket);
  void leave(Ticket& ticket);
  void grant_next();

  asio::any_io_executor executor_;
  int max_running_;
  std::function<void()> moved_;
  bool held_ = false;
  int running_ = 0;
  std::unordered_map<std::string, Lane> lanes_;
  std::deque<Ticket*> ready_;  // first in their lanes, waiting for a slot
  std::unordered_set<Ticket*> not_granted_;
};

class TurnScheduler::Ticket {
 public:
  Ticket(TurnScheduler& scheduler, std::string session)
      : scheduler_(scheduler), session_(std::move(session)), granted_event_(scheduler.executor_) {}
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() { scheduler_.leave(*this); }

  [[nodiscard]] bool granted() const { return granted_; }
  // False: not granted by the deadline, or the scheduler is held.
  Task<bool> wait(Deadline deadline) {
    if (granted_ || scheduler_.held_) co_return granted_;
    co_await granted_event_.wait(deadline);
    co_return granted_;
  }

 private:
  friend class TurnScheduler;
  TurnScheduler& scheduler_;
  const std::string session_;
  bool granted_ = false;
  Event granted_event_;
};

}  // namespace talaria
