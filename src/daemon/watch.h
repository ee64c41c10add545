#pragma once
// The watch over progress (lifecycle/watchdog.h), with hands: the event loop looks at the store's writer and asks our
// own control socket, and tells the manager WATCHDOG=1 while both move; a thread of its own looks at the event loop.
// What is stuck is named in the status line, the log and crash.log, with what every thread is doing, before the manager
// acts. Without a manager that watches nobody ends us, but it is said all the same.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "lifecycle/watchdog.h"
#include "process/identity.h"
#include "runtime/task.h"
#include "service/notify.h"
#include "store/store.h"

namespace talaria {

class Watch {
 public:
  struct Parts {
    const Notifier* notifier = nullptr;
    Incarnation self;
    std::string control_socket;
    std::function<const Store*()> store;         // null: not open
    std::function<bool()> control_is_open;       // open, and with room for one more connection
    std::function<Result<>()> reopen_control;    // when its path no longer leads to us
    std::function<std::string()> status_detail;  // what the status line says when all is well again
  };
  Watch(asio::any_io_executor executor, Parts parts);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { end(); }

  Task<> run();
  // Before the event loop may stand still for good reason: the way out. Joins the thread.
  void end();
  // For `status`.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  void tell(const WatchFinding& finding);
  Task<ControlFact> ask_control();
  void look_at_loop();

  asio::any_io_executor executor_;
  Parts parts_;
  const Millis period_;
  std::string stuck_;
  std::string slow_;

  // Questions to the loop, and its answers; the answers outlive us in a handler that waits.
  std::uint64_t asked_ = 0;
  std::shared_ptr<std::atomic<std::uint64_t>> answered_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace talaria
