#include "base/say.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <string>

#include "base/fd.h"

namespace talaria {
namespace {

// Standard error is another file for a while.
class OtherStandardError {
 public:
  explicit OtherStandardError(int fd) : before_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    ::dup2(fd, STDERR_FILENO);
  }
  OtherStandardError(const OtherStandardError&) = delete;
  OtherStandardError& operator=(const OtherStandardError&) = delete;
  ~OtherStandardError() { ::dup2(before_.get(), STDERR_FILENO); }

 private:
  UniqueFd before_;
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) std::abort();
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  std::size_t size_of_all() const {
    std::array<char, 4096> piece{};
    std::size_t all = 0;
    for (ssize_t n = 0; (n = ::read(reader.get(), piece.data(), piece.size())) > 0;) all += static_cast<std::size_t>(n);
    return all;
  }
  UniqueFd reader;
  UniqueFd writer;
};

TEST(Say, WritesToStandardError) {
  testing::internal::CaptureStderr();
  say("{} of {}\n", 1, "two");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "1 of two\n");
}

TEST(Say, AFullDiskCostsTheWordsAlone) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  const OtherStandardError instead(full.get());
  EXPECT_NO_THROW(say("nobody hears this\n"));
}

TEST(Say, AReaderThatIsGoneCostsTheWordsAlone) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  pipe.reader.reset();
  {
    const OtherStandardError instead(pipe.writer.get());
    EXPECT_NO_THROW(say("nobody hears this\n"));
  }
  std::signal(SIGPIPE, before);
}

TEST(Say, AFullPipeThatDoesNotBlockTakesWhatItCan) {
  const Pipe pipe;
  {
    const OtherStandardError instead(pipe.writer.get());
    EXPECT_NO_THROW(say("{}", std::string(1'000'000, 'x')));
    EXPECT_NO_THROW(say("nobody hears this\n"));
  }
  EXPECT_GE(pipe.size_of_all(), 4096U);
}

}  // namespace
}  // namespace talaria
