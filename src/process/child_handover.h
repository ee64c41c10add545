#pragma once
// Running children on their way from one program to the next. execve(2) keeps a process's children and its open pipes;
// what is lost is the memory: what has been read, what is still to be written, and whose child it is. run_child()
// leaves that here when it is asked to, and takes it up again in the next program under the same number.
//
// One event loop thread.

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "process/reaper.h"
#include "runtime/deadline.h"
#include "runtime/event.h"

namespace talaria {

// A child that nobody attends for the moment. It ends with this object: its group gets SIGKILL, unless it was let go.
struct ChildInTransit {
  std::int64_t number = 0;  // the caller's: which piece of work it runs for
  pid_t pid = -1;           // also its group's
  ChildClaim claim;
  UniqueFd in, out, err;  // our ends of its pipes; not open: that end is over
  std::string input;      // still to be written
  std::string output;     // all that was read
  std::string errors;     // the last of it
  Deadline deadline = Deadline::never();

  ChildInTransit() = default;
  ChildInTransit(ChildInTransit&& other) noexcept;
  ChildInTransit& operator=(ChildInTransit&&) = delete;
  ~ChildInTransit();
  // It goes on living without us.
  void let_go() { pid = -1; }
};

class ChildHandover {
 public:
  explicit ChildHandover(asio::any_io_executor executor) : asked_(std::move(executor)) {}
  ChildHandover(const ChildHandover&) = delete;
  ChildHandover& operator=(const ChildHandover&) = delete;

  // Before the change of programs: every run_child() with a number leaves its child here and is cancelled.
  void ask() { asked_.set(); }
  [[nodiscard]] Event& asked() { return asked_; }
  void leave(ChildInTransit child) { children_.emplace(child.number, std::move(child)); }
  [[nodiscard]] std::vector<ChildInTransit> take_all();

  // After it: a run_child() with the number of one that arrived goes on with it.
  void arrived(ChildInTransit child) { leave(std::move(child)); }
  [[nodiscard]] std::optional<ChildInTransit> take(std::int64_t number);
  // Those that nobody has gone on with so far.
  [[nodiscard]] std::vector<std::int64_t> waiting() const;
  // Ends (SIGKILL; blocks until they are dead, a second at most each) those whose time is up and those not among
  // `wanted`. Returns how many.
  int end_unwanted(const std::vector<std::int64_t>& wanted);

 private:
  Event asked_;
  std::map<std::int64_t, ChildInTransit> children_;
};

// For run_child(): which child this is to those who hand it over. Number 0, or no handover: it is nobody's.
struct ChildTicket {
  ChildHandover* handover = nullptr;
  std::int64_t number = 0;
  [[nodiscard]] bool valid() const { return handover != nullptr && number != 0; }
};

}  // namespace talaria
