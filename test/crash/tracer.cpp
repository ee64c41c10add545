// Runs a program, counts the system calls by which it changes the world, and kills it at one of them.
//
//   crash_tracer [--from-signal] [--at K (--before | --after)] [--record FILE] COMMAND...
//
// The kernel stops the program at the calls of calls.h alone (a seccomp filter that asks its tracer, seccomp(2),
// SECCOMP_RET_TRACE); all others run at full speed. All threads are counted together; child processes are not counted.
// Killed before a call, the call does not happen; killed after it, it has happened and the program has not heard.
//
//   --from-signal   counting begins with SIGUSR1 to the tracer; else with the program's first call. SIGUSR2 ends it.
//   --record FILE   what each counted call did, for test/crash/power.py
//
// Prints "pid N" when the program runs, and when it is over "counted N", "killed K NAME TARGET" if it came to that, and
// "exit CODE" or "signal NUMBER". Its own exit status is 0 unless tracing failed.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "tracee.h"

namespace crash {
namespace {

volatile std::sig_atomic_t counting = 1;
void start_counting(int) { counting = 1; }
void stop_counting(int) { counting = 0; }

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "crash_tracer: %s: %s\n", what, std::strerror(errno));
  std::_Exit(2);
}

const Call* find_call(std::uint64_t number) {
  for (const Call& call : calls)
    if (static_cast<std::uint64_t>(call.number) == number) return &call;
  return nullptr;
}

class Tracer {
 public:
  long kill_at = 0;  // 0: never
  bool kill_after = false;
  std::FILE* record = nullptr;

  int run(char** command);

 private:
  struct Thread {
    bool ours = false;
    bool kill_at_exit = false;
    const Call* recorded = nullptr;  // its result is still to come
  };

  pid_t launch(char** command);
  Thread& thread(pid_t id);
  void on_stop(pid_t id, int status);
  void on_call(pid_t id);
  void on_result(pid_t id);
  void kill_now(pid_t id, const Call& call);
  void write_record(pid_t id, std::uint8_t phase, int number, std::int64_t result, const std::string& about);
  static void go_on(pid_t id, bool to_result, int signal = 0) {
    // It may have been killed in between, by us or by others.
    (void)::ptrace(to_result ? PTRACE_SYSCALL : PTRACE_CONT, id, 0, signal);
  }

  pid_t child_ = 0;
  long count_ = 0;
  std::string killed_;
  std::unordered_map<pid_t, Thread> threads_;
};

pid_t Tracer::launch(char** command) {
  int gate[2];
  if (::pipe(gate) != 0) die("pipe");
  const pid_t child = ::fork();
  if (child < 0) die("fork");
  if (child == 0) {
    char byte = 0;
    ::close(gate[1]);
    if (::read(gate[0], &byte, 1) != 1) std::_Exit(2);
    ::close(gate[0]);
    if (!install_filter()) die("seccomp");
    ::execv(command[0], command);
    die(command[0]);
  }
  ::close(gate[0]);
  const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                       PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  if (::ptrace(PTRACE_SEIZE, child, 0, options) != 0) die("PTRACE_SEIZE");
  if (::write(gate[1], "x", 1) != 1) die("write");
  ::close(gate[1]);
  return child;
}

Tracer::Thread& Tracer::thread(pid_t id) {
  auto [found, fresh] = threads_.try_emplace(id);
  if (fresh) found->second.ours = process_of(id) == child_;
  return found->second;
}

void Tracer::kill_now(pid_t id, const Call& call) {
  const SyscallInfo info = syscall_info(id);
  const int descriptor = static_cast<int>(info.seccomp.args[0]);
  const bool has_descriptor =
      info.op == PTRACE_SYSCALL_INFO_SECCOMP && call.what != What::name && call.what != What::open;
  killed_ = std::to_string(count_) + " " + std::string(call.name) +
            (has_descriptor ? " " + descriptor_target(id, descriptor) : std::string());
  (void)::kill(child_, SIGKILL);
}

void Tracer::write_record(pid_t id, std::uint8_t phase, int number, std::int64_t result, const std::string& about) {
  const struct [[gnu::packed]] {
    std::uint8_t phase;
    std::int32_t thread, number;
    std::int64_t result;
    std::uint32_t size;
  } head{phase, id, number, result, static_cast<std::uint32_t>(about.size())};
  (void)std::fwrite(&head, sizeof head, 1, record);
  (void)std::fwrite(about.data(), 1, about.size(), record);
}

// Before a call of calls.h.
void Tracer::on_call(pid_t id) {
  Thread& thread = this->thread(id);
  const SyscallInfo info = syscall_info(id);
  const Call* call = find_call(info.seccomp.nr);
  if (!thread.ours || counting == 0 || call == nullptr || !is_point(id, *call, info.seccomp.args)) {
    return go_on(id, false);
  }
  ++count_;
  if (record != nullptr) {
    write_record(id, 0, call->number, 0, describe(id, *call, info.seccomp.args));
    thread.recorded = call;
  }
  if (count_ == kill_at) {
    // The one call that nobody comes back from has no "after".
    if (!kill_after || call->number == SYS_exit_group) return kill_now(id, *call);
    thread.kill_at_exit = true;
    thread.recorded = call;
  }
  go_on(id, thread.recorded != nullptr);
}

// After it.
void Tracer::on_result(pid_t id) {
  Thread& thread = this->thread(id);
  const Call* call = std::exchange(thread.recorded, nullptr);
  if (call != nullptr && thread.kill_at_exit) return kill_now(id, *call);
  if (call != nullptr && record != nullptr) {
    const SyscallInfo info = syscall_info(id);
    const bool opened = call->what == What::open && info.exit.rval >= 0;
    const auto descriptor = static_cast<std::uint64_t>(info.exit.rval);
    // Which file an open led to, by its inode.
    static const Call any{SYS_fsync, "fsync", What::data};
    write_record(id, 1, call->number, info.exit.rval, opened ? describe(id, any, &descriptor) : std::string());
  }
  go_on(id, false);
}

void Tracer::on_stop(pid_t id, int status) {
  const int signal = WSTOPSIG(status);
  switch (status >> 16) {
    case 0: break;
    case PTRACE_EVENT_SECCOMP: return on_call(id);
    case PTRACE_EVENT_STOP:
      // A group stop, or a thread that has just begun.
      if (signal == SIGTRAP) return go_on(id, false);
      (void)::ptrace(PTRACE_LISTEN, id, 0, 0);
      return;
    default: return go_on(id, threads_.contains(id) && threads_[id].recorded != nullptr);
  }
  if (signal == (SIGTRAP | 0x80)) return on_result(id);
  go_on(id, threads_.contains(id) && threads_[id].recorded != nullptr, signal);
}

int Tracer::run(char** command) {
  child_ = launch(command);
  std::printf("pid %d\n", child_);
  (void)std::fflush(stdout);
  for (;;) {
    int status = 0;
    const pid_t id = ::waitpid(-1, &status, __WALL);
    if (id < 0) {
      if (errno == EINTR) continue;
      die("waitpid");
    }
    if (WIFSTOPPED(status)) {
      on_stop(id, status);
      continue;
    }
    threads_.erase(id);
    if (id != child_) continue;
    std::printf("counted %ld\n", count_);
    if (!killed_.empty()) std::printf("killed %s\n", killed_.c_str());
    if (WIFEXITED(status)) std::printf("exit %d\n", WEXITSTATUS(status));
    if (WIFSIGNALED(status)) std::printf("signal %d\n", WTERMSIG(status));
    if (record != nullptr) (void)std::fclose(record);
    return 0;
  }
}

}  // namespace
}  // namespace crash

int main(int argc, char** argv) {
  crash::Tracer tracer;
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; ++at) {
    const std::string option = argv[at];
    if (option == "--from-signal") {
      crash::counting = 0;
    } else if (option == "--before" || option == "--after") {
      tracer.kill_after = option == "--after";
    } else if (option == "--at" && at + 1 < argc) {
      tracer.kill_at = std::atol(argv[++at]);
    } else if (option == "--record" && at + 1 < argc) {
      tracer.record = std::fopen(argv[++at], "we");
      if (tracer.record == nullptr) crash::die(argv[at]);
    } else {
      std::fprintf(stderr, "crash_tracer: what is %s?\n", argv[at]);
      return 2;
    }
  }
  if (at >= argc) return 2;
  struct sigaction action{};
  action.sa_handler = crash::start_counting;
  ::sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = crash::stop_counting;
  ::sigaction(SIGUSR2, &action, nullptr);
  return tracer.run(argv + at);
}
