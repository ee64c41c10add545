#pragma once
// TaskGroup: the owner of background coroutines. Nothing is detached: a task lives in a group, and the group's owner
// ends it with `co_await group.stop()` (cancel all, wait for all) before it goes away. The destructor cancels what is
// left; it may only find tasks when the event loop itself has ended (their frames die with the loop). A task that ends
// by cancellation is normal; any other exception is a bug and is handed to `on_bug`.
// Cancel, stop and destroy a group on the loop's thread, from inside a handler: from elsewhere Asio 1.81 posts a
// pointer to a signal whose task may end first.

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include "runtime/event.h"
#include "runtime/task.h"

namespace talaria {

class TaskGroup {
 public:
  using OnBug = std::function<void(std::string_view task, std::string_view what)>;

  explicit TaskGroup(asio::any_io_executor executor, OnBug on_bug = {});
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  ~TaskGroup();

  // Handle of one task: cancel it alone. Valid for ever (a no-op once the task has ended).
  class Handle {
   public:
    void cancel() const;

   private:
    friend class TaskGroup;
    std::weak_ptr<asio::cancellation_signal> signal_;
  };

  // Starts `task` at the loop's next turn. `name` is for reports of bugs.
  Handle spawn(std::string name, Task<> task);

  void cancel();                                           // asks every task to end
  Task<bool> join(Deadline deadline = Deadline::never());  // false: some still run at the deadline
  Task<bool> stop(Deadline deadline = Deadline::never()) {
    cancel();
    return join(deadline);
  }
  [[nodiscard]] std::size_t size() const { return state_->live.size(); }

 private:
  struct State {
    explicit State(asio::any_io_executor ex) : empty(std::move(ex)) { empty.set(); }
    std::list<std::shared_ptr<asio::cancellation_signal>> live;
    Event empty;
    OnBug on_bug;
  };
  asio::any_io_executor executor_;
  std::shared_ptr<State> state_;
};

}  // namespace talaria
