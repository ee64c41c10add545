#pragma once
// For the tests of this room: real processes and real files.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

#include "base/fd.h"
#include "process/pidfd.h"

namespace talaria::test {

// A directory that goes with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = "/tmp/talaria-process-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline void put(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}
inline std::string get(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Pipe {
  UniqueFd read;
  UniqueFd write;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
  // Waits for one byte; false: the other end was closed.
  [[nodiscard]] bool wait() const {
    char byte = 0;
    ssize_t n = 0;
    do {
      n = ::read(read.get(), &byte, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1;
  }
  void tell() const { ASSERT_EQ(::write(write.get(), "x", 1), 1); }
};

// A forked process. The body gets a function that reports "I am there" to the parent; its result is the exit code.
// Killed and reaped by the destructor.
class Forked {
 public:
  using Body = std::function<int(const std::function<void()>& ready)>;
  explicit Forked(const Body& body) {
    const Pipe pipe;
    pid_ = ::fork();
    if (pid_ == 0) ::_exit(body([&] { pipe.tell(); }));
    const_cast<Pipe&>(pipe).write.reset();
    ready_ = pipe.wait();
  }
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;
  ~Forked() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      reap();
    }
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool ready() const { return ready_; }
  void kill(int signal_number) const { ASSERT_EQ(::kill(pid_, signal_number), 0); }
  // Waits until it is a zombie, and leaves it one.
  void wait_dead() const {
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  }
  // Exit code, or minus the signal.
  int reap() {
    int status = 0;
    if (pid_ <= 0 || ::waitpid(pid_, &status, 0) != pid_) return -1000;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

// Traces `pid` as strace does and is slow to notice its end: until then its parent sees a process that is dead and
// can't be reaped. Not ready() where nobody may trace.
struct SlowTracer : Forked {
  explicit SlowTracer(pid_t pid)
      : Forked([pid](const auto& ready) {
          if (::ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return 1;
          ready();
          const UniqueFd fd(::pidfd_open(pid, 0));
          pollfd entry{fd.get(), POLLIN, 0};
          if (::poll(&entry, 1, 10'000) != 1) return 2;
          ::usleep(100'000);
          return ::waitpid(pid, nullptr, __WALL) == pid ? 0 : 3;
        }) {}
};

inline int hang() {
  for (;;) ::pause();
}

// Becomes another user for the rest of this (forked) process.
inline bool become_user(uid_t user) { return ::setgid(user) == 0 && ::setuid(user) == 0; }

inline std::size_t open_descriptors() {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
}

}  // namespace talaria::test

// A test that the machine can't run says so in the log and in the summary.
#define TALARIA_NEEDS_ROOT() \
  if (::geteuid() != 0) GTEST_SKIP() << "needs root"
