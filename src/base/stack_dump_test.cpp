#include "base/stack_dump.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <semaphore>
#include <string>
#include <thread>

#include "base/fd.h"

namespace talaria {
namespace {

using namespace std::chrono_literals;

std::string text_of(int fd) {
  std::string text(1 << 20, '\0');
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

// A thread that waits until it is let go.
class Waiter {
 public:
  Waiter(const char* name, bool deaf)
      : thread_([this, deaf] {
          sigset_t all;
          sigfillset(&all);
          if (deaf) pthread_sigmask(SIG_BLOCK, &all, nullptr);
          there_.release();
          go_.acquire();
        }) {
    there_.acquire();
    pthread_setname_np(thread_.native_handle(), name);
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() {
    go_.release();
    thread_.join();
  }

 private:
  std::binary_semaphore there_{0};
  std::binary_semaphore go_{0};
  std::thread thread_;
};

// What the dump says of the thread of that name, up to the next thread.
std::string part_of(const std::string& dump, const std::string& name) {
  const auto at = dump.find("\"" + name + "\"");
  if (at == std::string::npos) return {};
  return dump.substr(at, dump.find("thread ", at) - at);
}

int count(const std::string& text, char c) { return static_cast<int>(std::count(text.begin(), text.end(), c)); }

TEST(StackDump, EveryThreadIsThereWithItsStack) {
  prepare_stack_dump();
  const Waiter one("first-waiter", false);
  const Waiter two("second-waiter", false);
  const UniqueFd file(::memfd_create("dump", MFD_CLOEXEC));
  dump_all_threads(file.get(), 5'000ms);
  const std::string dump = text_of(file.get());
  for (const char* name : {"first-waiter", "second-waiter"}) {
    EXPECT_NE(part_of(dump, name).find(", state "), std::string::npos) << dump;
    EXPECT_GE(count(part_of(dump, name), '\n'), 4) << dump;  // its facts and some frames
  }
  EXPECT_NE(dump.find("base_test"), std::string::npos) << dump;  // our own frames, too
}

TEST(StackDump, AThreadThatTakesNoSignalHoldsUpNobody) {
  prepare_stack_dump();
  const Waiter deaf("deaf-waiter", true);
  const Waiter good("good-waiter", false);
  const UniqueFd file(::memfd_create("dump", MFD_CLOEXEC));
  dump_all_threads(file.get(), 200ms);
  const std::string dump = text_of(file.get());
  EXPECT_NE(part_of(dump, "deaf-waiter").find("does not answer"), std::string::npos) << dump;
  EXPECT_EQ(part_of(dump, "good-waiter").find("does not answer"), std::string::npos) << dump;
  // The next dump finds nothing of this one's.
  const UniqueFd again(::memfd_create("dump", MFD_CLOEXEC));
  dump_all_threads(again.get(), 200ms);
  EXPECT_GE(count(part_of(text_of(again.get()), "good-waiter"), '\n'), 4);
}

TEST(StackDump, CopiedWhole) {
  const UniqueFd from(::memfd_create("from", MFD_CLOEXEC));
  const UniqueFd to(::memfd_create("to", MFD_CLOEXEC));
  const std::string text(10'000, 'x');
  ASSERT_EQ(::write(from.get(), text.data(), text.size()), 10'000);
  copy_dump(from.get(), to.get());
  EXPECT_EQ(text_of(to.get()), text);
}

}  // namespace
}  // namespace talaria
