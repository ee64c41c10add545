#include "process/live_child.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "process/pipe_write.h"
#include "process/spawn.h"
#include "runtime/event.h"
#include "runtime/race.h"

namespace talaria {
namespace {

using Descriptor = asio::posix::stream_descriptor;
constexpr std::size_t longest_read = 16 * 1024;

}  // namespace

struct LiveChild::Impl {
  Impl(const asio::any_io_executor& executor, SpawnedProcess process)
      : leader(process.pid, std::move(process.claim)),
        pidfd(executor, process.pidfd.release()),
        in(executor, process.in.release()),
        out(executor, process.out.release()),
        err(executor, process.err.release()) {}

  Task<bool> exited(Deadline deadline) {
    pollfd entry{pidfd.native_handle(), POLLIN, 0};
    if (::poll(&entry, 1, 0) == 1) co_return true;
    bool gone = false;
    co_await race(
        [](Descriptor& descriptor, bool& into) -> Task<> {
          const auto [ec] = co_await descriptor.async_wait(Descriptor::wait_read, use_task);
          into = !ec;
        }(pidfd, gone),
        sleep_until(deadline));
    co_return gone;
  }

  GroupLeader leader;
  Descriptor pidfd, in, out, err;
};

LiveChild::LiveChild(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

LiveChild::~LiveChild() {
  Impl& self = *impl_;
  if (self.leader.reaped()) return;
  // Only when the event loop has died under us: SIGKILL is quick.
  self.leader.signal_group(SIGKILL);
  pollfd entry{self.pidfd.native_handle(), POLLIN, 0};
  (void)::poll(&entry, 1, 1'000);
  self.leader.reap();
}

Result<std::unique_ptr<LiveChild>> LiveChild::start(asio::any_io_executor executor, const ChildSpec& spec) {
  auto process = spawn_group(spec);
  if (!process) return std::unexpected(process.error());
  return std::unique_ptr<LiveChild>(new LiveChild(std::make_unique<Impl>(executor, std::move(*process))));
}

int LiveChild::pid() const { return impl_->leader.pid(); }

Task<std::size_t> LiveChild::read_some(Stream stream, std::string& buffer) {
  Descriptor& from = stream == Stream::out ? impl_->out : impl_->err;
  const std::size_t before = buffer.size();
  buffer.resize(before + longest_read);
  const auto [ec, n] = co_await from.async_read_some(asio::buffer(buffer.data() + before, longest_read), use_task);
  buffer.resize(before + (ec ? 0 : n));
  co_return buffer.size() - before;
}

std::size_t LiveChild::unread(Stream stream) const {
  Descriptor& from = stream == Stream::out ? impl_->out : impl_->err;
  int bytes = 0;
  return ::ioctl(from.native_handle(), FIONREAD, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

Task<Result<>> LiveChild::write_all(std::string_view data, Deadline deadline) {
  Impl& self = *impl_;
  while (!data.empty()) {
    if (!self.in.is_open()) co_return fail(ErrorKind::unavailable, "its input is closed");
    const ssize_t n = write_without_signal(self.in.native_handle(), data);
    if (n >= 0) {
      data.remove_prefix(static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) co_return fail(ErrorKind::unavailable, "it reads no more");
    bool ready = false;
    co_await race(
        [](Descriptor& descriptor, bool& into) -> Task<> {
          const auto [ec] = co_await descriptor.async_wait(Descriptor::wait_write, use_task);
          into = !ec;
        }(self.in, ready),
        sleep_until(deadline));
    if (!ready) co_return fail(ErrorKind::timeout, "it did not read in time");
  }
  co_return Result<>{};
}

void LiveChild::write_now(std::string_view data) {
  if (impl_->in.is_open()) (void)write_without_signal(impl_->in.native_handle(), data);
}

void LiveChild::close_input() {
  error_code ignored;
  impl_->in.close(ignored);
}

Task<bool> LiveChild::exited(Deadline deadline) { co_return co_await impl_->exited(deadline); }

Task<ChildEnd> LiveChild::end(Millis patience, Millis grace) {
  Impl& self = *impl_;
  if (!co_await self.exited(Deadline::in(patience))) {
    self.leader.signal_group(SIGTERM);
    self.leader.signal_group(SIGCONT);  // a stopped process would not see it
    (void)co_await self.exited(Deadline::in(grace));
  }
  self.leader.signal_group(SIGKILL);  // whoever is left of the group
  const Deadline end = Deadline::in(GroupLeader::patience_after_kill);
  (void)co_await self.exited(end);
  co_await self.leader.reap_dead(end);
  co_return self.leader.end();
}

}  // namespace talaria
