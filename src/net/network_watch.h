#pragma once
// Tells when the network may have come back, so that nobody waits out a delay that has lost its reason: the kernel
// reports new routes (rtnetlink(7), RTM_NEWROUTE). A route is what makes a peer reachable, and containers that come and
// go on the same machine change none of the main tables.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "runtime/event.h"
#include "runtime/task.h"

namespace talaria {

// One message or several, as read from a rtnetlink socket: is a new route among them that leads out of this machine?
[[nodiscard]] bool tells_of_new_route(std::string_view messages);

class NetworkWatch {
 public:
  explicit NetworkWatch(asio::any_io_executor executor) : fd_(executor), back_(executor) {}
  // unavailable, permission: the kernel or a sandbox gives us no such socket; delays are waited out then.
  [[nodiscard]] Result<> open();
  // Until cancelled.
  Task<> run();
  // Pulsed 0.1 s after the network may have come back, at most ten times a second.
  [[nodiscard]] Event& back() { return back_; }

 private:
  asio::posix::stream_descriptor fd_;
  Event back_;
};

}  // namespace talaria
