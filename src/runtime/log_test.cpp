#include "runtime/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sstream>
#include <string>
#include <thread>

#include "base/fd.h"

namespace talaria::log {
namespace {

// Standard error is a pipe that nobody reads before all() is asked.
class StalledStandardError {
 public:
  StalledStandardError() : before_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
    reader_ = UniqueFd(ends[0]);
    ::fcntl(ends[1], F_SETPIPE_SZ, 4096);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[1]);
  }
  StalledStandardError(const StalledStandardError&) = delete;
  StalledStandardError& operator=(const StalledStandardError&) = delete;
  ~StalledStandardError() { restore(); }

  // Reads while `work` runs and until it has all of what was written.
  template <class Work>
  std::string all(Work work) {
    std::string text;
    std::jthread reading([&] {
      std::array<char, 4096> piece{};
      for (ssize_t n = 0; (n = ::read(reader_.get(), piece.data(), piece.size())) > 0;)
        text.append(piece.data(), static_cast<std::size_t>(n));
    });
    work();
    restore();
    reading.join();
    return text;
  }

 private:
  void restore() {
    if (before_) ::dup2(before_.get(), STDERR_FILENO);
    before_.reset();
  }
  UniqueFd before_;
  UniqueFd reader_;
};

TEST(Log, LinesThatAreDroppedAreCounted) {
  constexpr int lines = 2'000;
  StalledStandardError stalled;
  start("test");
  for (int i = 0; i < lines; ++i) info("line {}", i);
  std::istringstream written(stalled.all([] { stop(); }));
  int kept = 0;
  int dropped = 0;
  for (std::string line; std::getline(written, line);) {
    if (line.ends_with(" log lines were dropped")) {
      dropped += std::atoi(line.substr(line.find("warning ") + 8).c_str());
    } else {
      ++kept;
    }
  }
  EXPECT_GT(dropped, 0);
  EXPECT_LT(kept, lines);
  EXPECT_EQ(kept + dropped, lines);
}

TEST(Log, NothingIsSaidOfLinesThatAreAllThere) {
  StalledStandardError stalled;
  start("test");
  info("one");
  const std::string written = stalled.all([] { stop(); });
  EXPECT_EQ(std::ranges::count(written, '\n'), 1) << written;
}

}  // namespace
}  // namespace talaria::log
