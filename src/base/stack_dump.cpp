#include "base/stack_dump.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <span>
#include <string_view>

namespace talaria {

namespace {

constexpr int most_frames = 64;
constexpr int most_silent = 20;  // threads that are waited for in vain

int dump_signal() { return SIGRTMIN + 5; }

// One dump at a time; the fields are the message from the one who dumps to the thread that is asked.
struct Request {
  std::atomic<bool> busy = false;
  std::atomic<pid_t> thread = 0;  // who is to answer; 0: nobody any more
  std::atomic<int> fd = -1;
  std::atomic<bool> done = false;
};
Request request;

void put(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// Decimal, without the C library's formatting: that may lock.
struct Number {
  std::array<char, 20> digits{};
  std::size_t from = digits.size();
  explicit Number(unsigned long value) {
    do {
      digits[--from] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
  }
  [[nodiscard]] std::string_view text() const { return {digits.data() + from, digits.size() - from}; }
};

// "/proc/self/task/TID/NAME" in a buffer of ours.
struct Path {
  std::array<char, 64> text{};
  Path(std::string_view thread, std::string_view name) {
    char* at = text.data();
    for (const std::string_view part : {std::string_view("/proc/self/task/"), thread, std::string_view("/"), name})
      at = static_cast<char*>(::mempcpy(at, part.data(), part.size()));
  }
};

// What stands in such a file, at most the buffer's size, without the newline; empty: it can't be read.
std::string_view read_into(std::span<char> buffer, const Path& path) {
  const int fd = ::open(path.text.data(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  std::string_view text(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  while (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

// "thread 4711 "store", state D, waits in io_schedule, system call 75 …"
void put_facts(int fd, std::string_view thread) {
  std::array<char, 256> buffer{};
  put(fd, "thread ");
  put(fd, thread);
  put(fd, " \"");
  put(fd, read_into(buffer, Path(thread, "comm")));
  put(fd, "\"");
  const auto stat = read_into(buffer, Path(thread, "stat"));
  if (const auto name_end = stat.rfind(')'); name_end != std::string_view::npos && name_end + 2 < stat.size()) {
    put(fd, ", state ");
    put(fd, stat.substr(name_end + 2, 1));
  }
  if (const auto where = read_into(buffer, Path(thread, "wchan")); !where.empty() && where != "0") {
    put(fd, ", waits in ");
    put(fd, where);
  }
  // Number and arguments; only for root, or where the process may be traced.
  if (const auto call = read_into(buffer, Path(thread, "syscall")); !call.empty() && call != "running") {
    put(fd, ", system call ");
    put(fd, call.substr(0, call.find(' ')));
  }
  put(fd, "\n");
}

void answer(int /*number*/) {
  const int error = errno;
  pid_t mine = static_cast<pid_t>(::syscall(SYS_gettid));
  // Only if still wanted: whoever answers too late must not write into somebody else's descriptor.
  if (request.thread.compare_exchange_strong(mine, 0)) {
    dump_own_stack(request.fd.load());
    request.done.store(true);
  }
  errno = error;
}

// Asks one thread for its stack. False: it did not answer.
bool ask(pid_t thread, int fd, std::chrono::milliseconds patience) {
  request.done.store(false);
  request.fd.store(fd);
  request.thread.store(thread);
  if (::syscall(SYS_tgkill, ::getpid(), thread, dump_signal()) != 0) return true;  // gone
  constexpr timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
  for (std::chrono::milliseconds waited{0}; !request.done.load(); ++waited) {
    if (waited >= patience) {
      // Taken back; one that has begun meanwhile gets the time once more to come to its end.
      if (pid_t expected = thread; request.thread.compare_exchange_strong(expected, 0)) return false;
      if (waited >= 2 * patience) return false;
    }
    ::nanosleep(&moment, nullptr);
  }
  return true;
}

// Calls `each` with the name of every entry of /proc/self/task; opendir(3) would allocate.
template <class Each>
void for_each_thread(Each each) {
  const int fd = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  alignas(dirent64) std::array<char, 4096> buffer{};
  for (;;) {
    const long n = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      const std::string_view name(entry->d_name);
      pid_t number = 0;
      for (const char c : name) number = c >= '0' && c <= '9' ? number * 10 + (c - '0') : -1;
      if (number > 0) each(number, name);
    }
  }
  ::close(fd);
}

}  // namespace

void prepare_stack_dump() {
  std::array<void*, 1> frame{};
  (void)::backtrace(frame.data(), 1);
  struct sigaction action{};
  action.sa_handler = answer;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  ::sigaction(dump_signal(), &action, nullptr);
}

void dump_own_stack(int fd) {
  std::array<void*, most_frames> frames{};
  const int n = ::backtrace(frames.data(), most_frames);
  ::backtrace_symbols_fd(frames.data(), n, fd);
}

void dump_all_threads(int fd, std::chrono::milliseconds patience) {
  if (request.busy.exchange(true)) return;
  const pid_t self = static_cast<pid_t>(::syscall(SYS_gettid));
  int silent = 0;
  for_each_thread([&](pid_t thread, std::string_view name) {
    if (thread == self) return;
    put_facts(fd, name);
    if (silent < most_silent && !ask(thread, fd, patience)) {
      ++silent;
      put(fd, "  (it does not answer: it sleeps in the kernel, or its signals are blocked)\n");
    }
  });
  put_facts(fd, Number(static_cast<unsigned long>(self)).text());
  dump_own_stack(fd);
  request.busy.store(false);
}

void copy_dump(int from, int to) {
  std::array<char, 4096> buffer{};
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(from, buffer.data(), buffer.size(), at);
    if (n <= 0) return;
    at += n;
    put(to, {buffer.data(), static_cast<std::size_t>(n)});
  }
}

}  // namespace talaria
