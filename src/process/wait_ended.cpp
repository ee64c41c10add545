#include "process/wait_ended.h"

#include <fcntl.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

namespace talaria {

namespace {

Task<bool> wait_readable(UniqueFd own, Deadline deadline) {
  auto executor = co_await asio::this_coro::executor;
  if (!own) co_return false;
  // Shared with the timer's handler, which may still be queued when we are gone.
  auto pidfd = std::make_shared<asio::posix::stream_descriptor>(executor, own.release());
  asio::steady_timer timer(executor, deadline.at());
  if (!deadline.is_never()) {
    timer.async_wait([pidfd](error_code ec) {
      error_code ignored;
      if (!ec) pidfd->cancel(ignored);
    });
  }
  const auto [ec] = co_await pidfd->async_wait(asio::posix::stream_descriptor::wait_read, use_task);
  co_return !ec;
}

}  // namespace

// No coroutine itself: the handle is read before it can go.
Task<bool> wait_ended(const ProcessHandle& process, Deadline deadline) {
  return wait_readable(UniqueFd(::fcntl(process.fd(), F_DUPFD_CLOEXEC, 3)), deadline);
}

}  // namespace talaria
