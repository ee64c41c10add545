#pragma once
// Host names to addresses. resolve() is private to net/.

#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

// Never empty on success. A numeric address and "localhost" (RFC 6761, 6.3) are answered at once, without the system's
// resolver. Otherwise getaddrinfo(3) runs on a thread of its own, so that one name waits for no other; giving up on it
// (deadline, cancellation) is prompt, the thread finishes in its own time, and the end of the io_context waits for it.
Task<Result<std::vector<asio::ip::tcp::endpoint>>> resolve(std::string host, std::uint16_t port, Deadline deadline);

// Is a look-up still running, waited for or given up? Then the end of the io_context would wait for getaddrinfo(3):
// half a minute and more where the name servers are away. Any thread.
[[nodiscard]] bool lookups_in_progress();

}  // namespace talaria
