// How a child ends. Three rules make it safe and leave nothing behind:
//
// 1. The group is signalled only while its leader is not reaped. A zombie still has its PID, so nobody else can get the
// group's
//    number; after reaping nothing but the question "is anybody left?" (signal 0) is sent.
// 2. The leader's end is seen on its pidfd, never by SIGCHLD or wait(-1), which would take other owners' children.
// 3. Cancellation is not the end of the story: run_child() runs its body as a coroutine of its own, which notices that
// it was
//    cancelled, switches cancellation off, ends the group with the usual grace and only then unwinds. So whoever waits
//    for a cancelled task knows that its processes are gone. Only when the event loop itself has died is there nobody
//    left to wait; then the destructor kills and reaps.
//
// A process that leaves the group (setsid) does not end with it: it becomes our child (process/reaper.h) and ends with
// the gateway (process/descendants.h). It can't hold us up: its copies of the pipes are waited for 200 ms.

#include "process/child.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <chrono>

#include "process/group_leader.h"
#include "process/pidfd.h"
#include "process/pipe_write.h"
#include "process/spawn.h"
#include "runtime/event.h"
#include "runtime/task_group.h"

namespace talaria {

namespace {

using Descriptor = asio::posix::stream_descriptor;

constexpr std::size_t kept_errors = 4096;
constexpr std::size_t read_size = 16 * 1024;
constexpr Millis pipes_after_exit{200};

// A running child and what is known of it. Shared by the body of run_child() and its helpers.
struct Child {
  Child(const asio::any_io_executor& executor, SpawnedProcess process)
      : leader(process.pid, std::move(process.claim)),
        pidfd(executor, process.pidfd.release()),
        in(executor),
        out(executor),
        err(executor),
        changed(executor) {
    // Of a child that was handed over, some may be at their end already.
    if (process.in) in.assign(process.in.release());
    if (process.out) out.assign(process.out.release());
    if (process.err) err.assign(process.err.release());
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  [[nodiscard]] bool finished() const { return exited && out_closed && err_closed; }

  GroupLeader leader;
  Descriptor pidfd;
  Descriptor in;
  Descriptor out;
  Descriptor err;
  Event changed;        // pulsed with every change below
  bool exited = false;  // a zombie, or reaped
  bool given_up = false;
  bool out_closed = false;
  bool err_closed = false;
  bool over_limit = false;
  bool asked_for = false;  // another program is to go on with it
  std::string input;
  std::size_t written = 0;  // of the input
  std::string bug;
  ChildResult result;
};

Child::~Child() {
  if (leader.reaped() || given_up) return;
  // The event loop died under us. SIGKILL is quick; one second is for a process that frees a lot of memory.
  leader.signal_group(SIGKILL);
  pollfd entry{pidfd.native_handle(), POLLIN, 0};
  (void)::poll(&entry, 1, 1'000);
  leader.reap();
}

// A child that doesn't read its input, or not all of it, is within its rights.
Task<> feed(std::shared_ptr<Child> child) {
  while (child->written < child->input.size()) {
    const auto [ec] = co_await child->in.async_wait(Descriptor::wait_write, use_task);
    if (child->asked_for) co_return;  // the next program writes the rest
    if (ec) break;
    const ssize_t n =
        write_without_signal(child->in.native_handle(), std::string_view(child->input).substr(child->written));
    if (n < 0 && errno != EAGAIN && errno != EINTR) break;
    child->written += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
  }
  error_code ignored;
  child->in.close(ignored);
}

Task<> collect_output(std::shared_ptr<Child> child, std::size_t max_output,
                      std::function<void(std::string_view)> on_output) {
  std::string buffer(read_size, '\0');
  for (;;) {
    const auto [ec, n] = co_await child->out.async_read_some(asio::buffer(buffer), use_task);
    if (ec) break;
    // What comes after the limit is read and dropped, so that the child can't hang in a write while it ends.
    const std::size_t room = max_output - child->result.out.size();
    const std::string_view piece = std::string_view(buffer).substr(0, std::min(n, room));
    child->result.out += piece;
    if (on_output && !piece.empty()) on_output(piece);
    if (n > room && !child->over_limit) {
      child->over_limit = true;
      child->changed.pulse();
    }
  }
  if (child->asked_for) co_return;
  child->out_closed = true;
  child->changed.pulse();
}

Task<> collect_errors(std::shared_ptr<Child> child) {
  std::string buffer(read_size, '\0');
  for (;;) {
    const auto [ec, n] = co_await child->err.async_read_some(asio::buffer(buffer), use_task);
    if (ec) break;
    auto& tail = child->result.err_tail;
    tail.append(buffer, 0, n);
    if (tail.size() > kept_errors) tail.erase(0, tail.size() - kept_errors);
  }
  if (child->asked_for) co_return;
  child->err_closed = true;
  child->changed.pulse();
}

Task<> await_exit(std::shared_ptr<Child> child) {
  const auto [ec] = co_await child->pidfd.async_wait(Descriptor::wait_read, use_task);
  if (ec) co_return;
  child->exited = true;
  child->changed.pulse();
}

// Waits for the child to end by itself. An error says why it must be ended.
Task<Result<>> attend(std::shared_ptr<Child> child, Deadline deadline) {
  Deadline until = deadline;
  bool noticed = false;
  while (!child->finished()) {
    if (child->over_limit) co_return fail(ErrorKind::limit, "it wrote more output than is allowed and was stopped");
    if (!child->bug.empty()) co_return fail(ErrorKind::internal, child->bug);
    if (child->asked_for && !child->exited) co_return fail(ErrorKind::cancelled, "another program goes on with it");
    if (child->exited && !noticed) {
      noticed = true;
      until = Deadline::in(pipes_after_exit);
    }
    if (co_await child->changed.wait(until)) continue;
    if (!child->exited) co_return fail(ErrorKind::timeout, "it did not end in time and was stopped");
    break;
  }
  // The limit may have been passed by the last words.
  if (child->over_limit) co_return fail(ErrorKind::limit, "it wrote more output than is allowed and was stopped");
  co_return Result<>{};
}

// Ends whoever is left of the group, and reaps the leader.
Task<> end_group(std::shared_ptr<Child> child, Millis grace) {
  if (!child->exited) {
    child->leader.signal_group(SIGTERM);
    child->leader.signal_group(SIGCONT);  // a stopped process would not see it
    const Deadline end = Deadline::in(grace);
    while (!child->finished() && co_await child->changed.wait(end)) {
    }
  }
  child->leader.signal_group(SIGKILL);
  const Deadline end = Deadline::in(GroupLeader::patience_after_kill);
  while (!child->exited && co_await child->changed.wait(end)) {
  }
  co_await child->leader.reap_dead(end);
  child->given_up = !child->leader.reaped();
  child->result.exit_code = child->leader.end().exit_code;
  child->result.signal = child->leader.end().signal;
  if (child->leader.lost()) child->bug = "its exit code was lost; somebody else waits for children of this process";
}

Task<> await_handover(std::shared_ptr<Child> child, Event& asked) {
  co_await asked.wait();
  child->asked_for = true;
  child->changed.pulse();
}

// A child that came from the program before us, as if we had just started it.
Result<SpawnedProcess> receive(ChildInTransit& arrived) {
  SpawnedProcess process;
  // Safe although it comes late: only we can reap it.
  process.pidfd = UniqueFd(::pidfd_open(arrived.pid, 0));
  if (!process.pidfd) return fail_errno(errno, fmt::format("go on with process {}", arrived.pid));
  process.pid = arrived.pid;
  process.claim = std::move(arrived.claim);
  process.in = std::move(arrived.in);
  process.out = std::move(arrived.out);
  process.err = std::move(arrived.err);
  arrived.let_go();
  return process;
}

// Whoever reads and writes has stopped; the descriptors go as they are.
void leave_child(Child& child, const ChildTicket& ticket, Deadline deadline) {
  const auto release = [](Descriptor& from) { return from.is_open() ? UniqueFd(from.release()) : UniqueFd(); };
  ChildInTransit transit;
  transit.number = ticket.number;
  transit.pid = child.leader.pid();
  transit.claim = child.leader.take_claim();
  transit.in = release(child.in);
  if (!child.out_closed) transit.out = release(child.out);
  if (!child.err_closed) transit.err = release(child.err);
  transit.input = child.input.substr(child.written);
  transit.output = std::move(child.result.out);
  transit.errors = std::move(child.result.err_tail);
  transit.deadline = deadline;
  child.given_up = true;  // by this object, not by us
  ticket.handover->leave(std::move(transit));
}

Task<Result<ChildResult>> run_body(ChildSpec spec, std::string input, std::size_t max_output, Deadline deadline,
                                   Millis grace, std::function<void(std::string_view)> on_output, ChildTicket ticket) {
  const auto executor = co_await asio::this_coro::executor;
  auto arrived = ticket.valid() ? ticket.handover->take(ticket.number) : std::nullopt;
  auto process = arrived ? receive(*arrived) : spawn_group(spec);
  if (!process) co_return std::unexpected(process.error());
  const auto child = std::make_shared<Child>(executor, std::move(*process));
  child->input = std::move(input);
  if (arrived) {
    deadline = deadline.earlier(arrived->deadline);
    child->input = std::move(arrived->input);
    child->result.out = std::move(arrived->output);
    child->result.err_tail = std::move(arrived->errors);
    child->out_closed = !child->out.is_open();
    child->err_closed = !child->err.is_open();
    if (on_output && !child->result.out.empty()) on_output(child->result.out);
  }
  TaskGroup helpers(executor, [weak = std::weak_ptr(child)](std::string_view task, std::string_view what) {
    const auto there = weak.lock();
    if (!there) return;
    there->bug = fmt::format("{}: {}", task, what);
    there->changed.pulse();
  });
  if (child->in.is_open()) helpers.spawn("child's input", feed(child));
  if (!child->out_closed) helpers.spawn("child's output", collect_output(child, max_output, std::move(on_output)));
  if (!child->err_closed) helpers.spawn("child's errors", collect_errors(child));
  if (ticket.valid()) helpers.spawn("child's handover", await_handover(child, ticket.handover->asked()));
  helpers.spawn("child's end", await_exit(child));

  Result<> outcome;
  bool cancelled = false;
  try {
    outcome = co_await attend(child, deadline);
  } catch (const boost::system::system_error& e) {
    if (e.code() != asio::error::operation_aborted) outcome = fail(ErrorKind::internal, e.what());
    cancelled = e.code() == asio::error::operation_aborted;
  }
  // From here on to the end, whoever cancels waits for us.
  co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
  if (!cancelled && !outcome && outcome.error().kind == ErrorKind::cancelled) {
    co_await helpers.stop();
    leave_child(*child, ticket, deadline);
    throw boost::system::system_error(asio::error::operation_aborted, "run_child: handed over");
  }
  child->result.truncated = child->exited && !child->out_closed;
  co_await end_group(child, grace);
  co_await helpers.stop();
  if (cancelled) throw boost::system::system_error(asio::error::operation_aborted, "run_child");
  if (child->given_up)
    co_return fail(ErrorKind::internal,
                   fmt::format("{} (process {}) does not die of SIGKILL", spec.command[0], child->leader.pid()));
  if (outcome && !child->bug.empty()) outcome = fail(ErrorKind::internal, child->bug);
  if (!outcome) co_return fail(outcome.error().kind, fmt::format("{}: {}", spec.command[0], outcome.error().what));
  co_return std::move(child->result);
}

}  // namespace

Task<Result<ChildResult>> run_child(ChildSpec spec, std::string input, std::size_t max_output, Deadline deadline,
                                    Millis grace, std::function<void(std::string_view)> on_output, ChildTicket ticket) {
  if (deadline.expired()) co_return fail(ErrorKind::timeout, "there was no time left to start the command");
  // A coroutine thread of its own has cancellation of its own: see rule 3 above.
  co_return co_await asio::co_spawn(
      co_await asio::this_coro::executor,
      run_body(std::move(spec), std::move(input), max_output, deadline, grace, std::move(on_output), ticket),
      asio::use_awaitable);
}

}  // namespace talaria
