#include "lifecycle/crash_handler.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>

#include "base/alternate_stack.h"
#include "base/stack_dump.h"
#include "base/version.h"
#include "lifecycle/crash_record.h"
#include "process/small_file.h"

namespace talaria {
namespace {

constexpr std::array fatal_signals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS};
constexpr unsigned handler_seconds = 3;  // then the alarm ends a handler that is stuck itself
constexpr int most_stuck_records = 20;

// All that a handler touches. Written before, or by the one thread that has taken `taken`.
struct Prepared {
  int file = -1;     // crash.log
  int scratch = -1;  // where the stacks are collected (memfd)
  std::array<char, 512> header{};
  std::size_t header_size = 0;
  std::array<char, 256> reason{};
  std::atomic<std::size_t> reason_size = 0;
  std::atomic<int> taken = 0;  // the thread that writes a record
  std::atomic<int> dying = 0;  // the signal by which we die; 0: none
  std::atomic<int> stuck_records = 0;
};
Prepared prepared;

// A text of a fixed size that needs no heap.
class Line {
 public:
  Line& text(std::string_view part) {
    const std::size_t n = std::min(part.size(), text_.size() - size_);
    std::memcpy(text_.data() + size_, part.data(), n);
    size_ += n;
    return *this;
  }
  template <class Number>
  Line& number(Number value, int base = 10) {
    std::array<char, 24> digits{};
    // std::to_chars of integers is a plain loop: no locale, no heap.
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base).ptr;
    return text({digits.data(), static_cast<std::size_t>(end - digits.data())});
  }
  [[nodiscard]] std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, 1536> text_{};
  std::size_t size_ = 0;
};

void put(int fd, std::string_view text) {
  while (fd >= 0 && !text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

int this_thread() { return static_cast<int>(::syscall(SYS_gettid)); }

void add_thread_name(Line& line) {
  const int fd = ::open("/proc/thread-self/comm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  std::array<char, 32> name{};
  const ssize_t n = ::read(fd, name.data(), name.size());
  ::close(fd);
  if (n > 0) line.text("name ").text({name.data(), static_cast<std::size_t>(n)});  // its newline is ours
}

std::string_view reason() { return {prepared.reason.data(), prepared.reason_size.load()}; }

void begin_record(Line& line, std::string_view type) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  line.text(crash_mark).text("\ntype ").text(type).text("\n").text({prepared.header.data(), prepared.header_size});
  line.text("at ").number(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
  line.text("\nthread ").number(this_thread()).text("\n");
  add_thread_name(line);
}

// The head goes out first and whole: should the stacks never come, the cause is on disk.
void write_record(std::string_view head) {
  for (const int fd : {prepared.file, STDERR_FILENO}) put(fd, head);
  if (prepared.scratch >= 0) {
    (void)::ftruncate(prepared.scratch, 0);
    (void)::lseek(prepared.scratch, 0, SEEK_SET);
    dump_all_threads(prepared.scratch);
  }
  for (const int fd : {prepared.file, STDERR_FILENO}) {
    if (fd < 0) continue;
    if (prepared.scratch >= 0) copy_dump(prepared.scratch, fd);
    put(fd, crash_end);
    put(fd, "\n");
  }
}

// With the default action, in this thread, now. PID 1 of a container does not die of a signal of its own
// (pid_namespaces(7)): it exits with the number that a shell would tell.
[[noreturn]] void die_by(int number) {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(number, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::syscall(SYS_tgkill, ::getpid(), this_thread(), number);
  ::_exit(128 + number);
}

void on_alarm(int /*number*/) { die_by(prepared.dying.load()); }

void arm_alarm() {
  struct sigaction action{};
  action.sa_handler = on_alarm;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  ::sigaction(SIGALRM, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::alarm(handler_seconds);
}

void on_fatal_signal(int number, siginfo_t* info, void* /*context*/) {
  int nobody = 0;
  if (!prepared.dying.compare_exchange_strong(nobody, number)) {
    // Another thread dies already and takes us with it; when it was this one, its handler has failed itself.
    if (prepared.taken.load() == this_thread()) die_by(number);
    for (;;) ::pause();
  }
  prepared.taken.store(this_thread());
  arm_alarm();
  Line head;
  begin_record(head, "signal");
  head.text("signal ").number(number).text("\ncode ").number(info->si_code);
  // A fault has an address, a signal that was sent has a sender (sigaction(2)).
  if (info->si_code > 0)
    head.text("\naddress ").number(reinterpret_cast<std::uintptr_t>(info->si_addr), 16);
  else
    head.text("\nsender ").number(info->si_pid);
  if (const auto why = reason(); !why.empty()) head.text("\nreason ").text(why);
  head.text("\nstacks\n");
  write_record(head.view());
  die_by(number);
}

// An exception that nobody caught: its words are the reason, abort(3) is the signal.
[[noreturn]] void on_terminate() {
  if (const std::exception_ptr bug = std::current_exception()) {
    try {
      std::rethrow_exception(bug);
    } catch (const std::exception& e) {
      note_crash_reason(fmt::format("uncaught exception: {}", e.what()));
    } catch (...) {
      note_crash_reason("uncaught exception of an unknown type");
    }
  } else {
    note_crash_reason("std::terminate was called");
  }
  std::abort();
}

// The newer half of a log that has grown too long; whole records, as far as that is possible.
Result<> shorten(int fd, const std::string& path) {
  struct stat file{};
  if (::fstat(fd, &file) != 0) return fail_errno(errno, "stat " + path);
  const auto size = static_cast<std::size_t>(file.st_size);
  if (size <= max_crash_log / 2) return {};
  std::string kept;
  if (size <= max_crash_log) {
    auto text = read_small(fd, max_crash_log, path);
    if (!text) return std::unexpected(text.error());
    if (const auto from = text->find(crash_mark, text->size() / 2); from != std::string::npos)
      kept = text->substr(from);
  }
  if (::ftruncate(fd, 0) != 0) return fail_errno(errno, "cut " + path);
  put(fd, kept);
  return {};
}

}  // namespace

void handle_crashes() {
  static const AlternateStack main_stack;
  prepare_stack_dump();
  prepared.scratch = ::memfd_create("crash", MFD_CLOEXEC);
  std::set_terminate(on_terminate);
  struct sigaction action{};
  action.sa_sigaction = on_fatal_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int number : fatal_signals) ::sigaction(number, &action, nullptr);
}

Result<> keep_crash_records(const std::string& state_directory, const Incarnation& self,
                            std::string_view invocation_id) {
  const std::string header =
      fmt::format("incarnation {}\ninvocation {}\nversion {}\n", to_string(self), invocation_id, program_version());
  prepared.header_size = 0;
  std::memcpy(prepared.header.data(), header.data(), std::min(header.size(), prepared.header.size()));
  prepared.header_size = std::min(header.size(), prepared.header.size());
  const std::string path = fmt::format("{}/{}", state_directory, crash_log_name);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(errno, "open " + path);
  struct stat file{};
  if (::fstat(fd.get(), &file) != 0 || !S_ISREG(file.st_mode))
    return fail(ErrorKind::invalid, path + " is not a regular file: move it away");
  if (auto ok = shorten(fd.get(), path); !ok) return ok;
  const int old = std::exchange(prepared.file, fd.release());
  if (old >= 0) ::close(old);
  return {};
}

void note_crash_reason(std::string_view reason) {
  prepared.reason_size.store(0);
  const std::size_t n = std::min(reason.size(), prepared.reason.size());
  for (std::size_t i = 0; i < n; ++i) prepared.reason[i] = reason[i] == '\n' ? ' ' : reason[i];
  prepared.reason_size.store(n);
}

void write_stuck_record(std::string_view type, std::string_view reason) {
  int nobody = 0;
  if (prepared.stuck_records.fetch_add(1) >= most_stuck_records) return;
  if (!prepared.taken.compare_exchange_strong(nobody, this_thread())) return;  // somebody writes or dies already
  Line head;
  begin_record(head, type);
  head.text("reason ").text(reason.substr(0, 256)).text("\nstacks\n");
  write_record(head.view());
  prepared.taken.store(0);
}

}  // namespace talaria
