#include "lifecycle/crash_handler.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <thread>

#include "lifecycle/crash_record.h"
#include "process/small_file.h"

namespace talaria {
namespace {

constexpr const char* boot = "11111111-2222-3333-4444-555555555555";

class CrashHandler : public ::testing::Test {
 protected:
  CrashHandler() {
    std::string pattern = std::filesystem::temp_directory_path() / "talaria-crash-XXXXXX";
    home_ = ::mkdtemp(pattern.data());
  }
  ~CrashHandler() override { std::filesystem::remove_all(home_); }

  // A process of its own that crashes in `deed`. Returns how it ended, waitpid(2).
  int crash(const std::function<void()>& deed) const {
    const pid_t child = ::fork();
    if (child == 0) {
      (void)!::freopen("/dev/null", "w", stderr);
      handle_crashes();
      if (!keep_crash_records(home_, {::getpid(), 7, boot}, "i1")) ::_exit(99);
      deed();
      ::_exit(98);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }
  std::vector<CrashRecord> records() const {
    return parse_crash_log(read_small_file(home_ + "/crash.log", max_crash_log).value_or(""));
  }
  std::string home_;
};

bool died_by(int status, int signal) { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }

TEST_F(CrashHandler, AFaultIsRecordedAndSeenAsWhatItIs) {
  // A page that may not be touched: the fault is real, and has an address.
  void* page = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_TRUE(died_by(crash([page] { *static_cast<volatile char*>(page) = 1; }), SIGSEGV));
  ASSERT_EQ(records().size(), 1U);
  const CrashRecord record = records()[0];
  EXPECT_EQ(record.signal, SIGSEGV);
  EXPECT_EQ(record.address, reinterpret_cast<std::uintptr_t>(page));
  EXPECT_EQ(record.invocation_id, "i1");
  EXPECT_TRUE(record.complete);
  EXPECT_GE(record.stack.size(), 3U);
}

TEST_F(CrashHandler, EveryFatalSignalKeepsItsName) {
  for (const int signal : {SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS}) {
    EXPECT_TRUE(died_by(crash([signal] { std::raise(signal); }), signal)) << signal;
    ASSERT_FALSE(records().empty());
    EXPECT_EQ(records().back().signal, signal);
    EXPECT_TRUE(records().back().complete);
  }
}

TEST_F(CrashHandler, AnUncaughtExceptionTellsItsWords) {
  EXPECT_TRUE(died_by(crash([] { std::thread([] { throw std::runtime_error("no such luck"); }).join(); }), SIGABRT));
  ASSERT_EQ(records().size(), 1U);
  EXPECT_NE(records()[0].reason.find("no such luck"), std::string::npos) << records()[0].reason;
}

TEST_F(CrashHandler, TwoThreadsThatCrashAtOnceLeaveOneDeath) {
  const int status = crash([] {
    std::thread a([] { std::raise(SIGSEGV); });
    std::thread b([] { std::raise(SIGFPE); });
    a.join();
    b.join();
  });
  EXPECT_TRUE(died_by(status, SIGSEGV) || died_by(status, SIGFPE)) << status;
  EXPECT_EQ(records().size(), 1U);
}

TEST_F(CrashHandler, BeingStuckIsRecordedWithoutDying) {
  const int status = crash([] {
    write_stuck_record("stuck", "the tests stand still");
    ::_exit(0);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ASSERT_EQ(records().size(), 1U);
  EXPECT_EQ(records()[0].type, "stuck");
  EXPECT_EQ(records()[0].reason, "the tests stand still");
}

TEST_F(CrashHandler, TheLogIsBounded) {
  const std::filesystem::path log = home_ + "/crash.log";
  for (int i = 0; i < 3; ++i) {
    (void)crash([] { std::raise(SIGSEGV); });
    std::filesystem::resize_file(log, max_crash_log + 4096);  // as if many more had come
  }
  (void)crash([] { std::raise(SIGSEGV); });
  EXPECT_LT(std::filesystem::file_size(log), max_crash_log);
  EXPECT_EQ(records().back().signal, SIGSEGV);
}

}  // namespace
}  // namespace talaria
