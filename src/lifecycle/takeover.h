#pragma once
// Taking the home from its owner: `gateway run --replace`. The owner is asked at its control socket to leave. One that
// a service manager supervises is never evicted, because its manager would bring it back. One that does not answer is
// ended through its pidfd, TERM and then KILL, each bounded; frozen (SIGSTOP) counts as not answering, a zombie as
// gone. The lock decides in the end: whoever holds it owns the home, whatever any file says, and a PID from a file
// never gets a signal before it was checked against start time and boot id.

#include <functional>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "process/instance_lock.h"
#include "runtime/deadline.h"
#include "runtime/event.h"
#include "runtime/task.h"

namespace talaria {

struct TakeoverRequest {
  std::string profile;
  std::string state_directory;
  std::string runtime_directory;
  std::string control_socket;
  std::string by;             // who asks, for the owner's record
  Millis answer_time{1'000};  // for the owner to answer on its control socket
  Millis term_time{1'000};    // between TERM and KILL
  Millis kill_time{1'000};    // for the kernel to end it after KILL
};

// Who owns the home now, as well as can be found out: the kernel's word before the lock file's.
struct HomeOwner {
  std::optional<Incarnation> incarnation;  // of a living process
  std::string unit;                        // empty: none
  std::string scope;                       // "system", "user" …; empty: nobody supervises it
  std::string control_socket;              // empty: the profile's usual one
  std::int64_t since = 0;                  // Unix milliseconds; 0: unknown
  [[nodiscard]] bool supervised() const { return !scope.empty(); }
};
[[nodiscard]] HomeOwner find_owner(const std::string& state_directory);
// "PID 4711 (user service talaria-gateway@default.service) since 2026-…".
[[nodiscard]] std::string describe(const HomeOwner& owner);
// The commands that end it or take its place.
[[nodiscard]] std::string advice(const HomeOwner& owner, std::string_view profile);

// Returns with the lock. `say` hears each step. Errors: conflict: the owner is supervised, or a supervised standby took
// the home first (the message has the advice); permission: it is another user's; timeout: it can't be ended; cancelled:
// `give_up` was set; and those of InstanceLock::acquire().
Task<Result<InstanceLock>> take_over(TakeoverRequest request, Event& give_up, std::function<void(std::string)> say);

}  // namespace talaria
