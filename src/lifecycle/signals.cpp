#include "lifecycle/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

#include "process/reaper.h"
#include "service/ask_supervisor.h"

namespace talaria {
namespace {

// The manager answers within this, or is taken for silent (lifecycle contract).
constexpr Millis manager_time{250};
// The manager sends SIGCONT right after SIGTERM; it is in the queue a moment later.
constexpr Millis sigcont_time{100};

sigset_t handled() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGCONT, SIGCHLD}) sigaddset(&set, number);
  return set;
}

}  // namespace

void block_signals() {
  const sigset_t set = handled();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);  // a parent that ignored it would have us lose our children's exit codes
}

Result<> AnnouncementDesk::announce(const std::string& target, const std::string& by) {
  auto incarnation = parse_incarnation(target);
  if (!incarnation) return std::unexpected(incarnation.error());
  if (*incarnation != self_) return fail(ErrorKind::invalid, "the announcement is for another incarnation");
  pending_ = Announcement{*incarnation, by, boottime_now_ms()};
  return {};
}

std::optional<Announcement> AnnouncementDesk::take() {
  // The marker goes too, so that it can't be found a second time.
  auto marker = take_announcement(runtime_directory_, self_);
  auto found = std::exchange(pending_, std::nullopt);
  if (found && is_valid_for(*found, self_, boottime_now_ms())) return found;
  return marker;
}

struct SignalReader::Received {
  int number = 0;
  int pid = 0;
  int uid = -1;
  int code = 0;
};

SignalReader::SignalReader(asio::any_io_executor executor, Supervision supervision, AnnouncementDesk& desk,
                           EndRequest& end)
    : executor_(executor),
      supervision_(std::move(supervision)),
      desk_(desk),
      end_(end),
      fd_(executor),
      continued_(executor),
      child_ended_(executor),
      judging_(executor) {}

Result<> SignalReader::open() {
  const sigset_t set = handled();
  const int fd = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return fail_errno(errno, "signalfd");
  fd_.assign(fd);
  return {};
}

Task<> SignalReader::run() {
  signalfd_siginfo info{};
  reap_unclaimed();  // what the program before us left (execve(2) keeps children), or died before we looked
  for (;;) {
    auto [ec] = co_await fd_.async_wait(asio::posix::stream_descriptor::wait_read, use_task);
    if (ec) co_return;
    while (::read(fd_.native_handle(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      Received received{static_cast<int>(info.ssi_signo), static_cast<int>(info.ssi_pid),
                        static_cast<int>(info.ssi_uid), info.ssi_code};
      if (received.number == SIGCONT) {
        continued_by_ = received.pid;
        continued_.pulse();
      } else if (received.number == SIGCHLD) {
        reap_unclaimed();
        child_ended_.pulse();
      } else if (received.number == SIGHUP) {
        if (on_hangup_) on_hangup_(received.pid);
      } else {
        judging_.spawn("verdict", judge(received));
      }
    }
  }
}

Task<bool> SignalReader::sigcont_follows(int sender_pid, Deadline deadline) {
  while (continued_by_ != sender_pid && co_await continued_.wait(deadline)) {
  }
  co_return continued_by_ == sender_pid;
}

Task<> SignalReader::judge(Received received) {
  if (end_.asked() && !end_.changeable()) {  // a second signal never changes the verdict
    end_.ask({});
    co_return;
  }
  SignalEvidence evidence;
  evidence.signal_number = received.number;
  evidence.sender_pid = received.pid;
  evidence.sender_uid = received.uid;
  evidence.code = received.code;
  evidence.supervision = supervision_;
  if (received.pid != 0) {
    if (auto facts = facts_of(received.pid)) evidence.sender = std::move(*facts);
  }
  evidence.announcement = desk_.take();
  if (needs_manager(evidence) && !supervision_.by_systemd()) {
    auto answer = co_await ask_supervisor(supervision_, ::getpid(), Deadline::in(manager_time));
    if (answer)
      evidence.supervisor = std::move(*answer);
    else
      evidence.manager_problem = answer.error().what;
  } else if (needs_manager(evidence)) {
    auto answer = co_await ask_unit(supervision_.manager, supervision_.unit, Deadline::in(manager_time));
    if (answer) {
      evidence.manager = std::move(*answer);
    } else {
      evidence.manager_problem = answer.error().what;
      evidence.continued = co_await sigcont_follows(received.pid, Deadline::in(sigcont_time));
    }
  }
  end_.ask({decide(evidence), evidence_json(evidence)});
}

}  // namespace talaria
