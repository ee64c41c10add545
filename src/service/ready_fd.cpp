#include "service/ready_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <string>

namespace talaria {

ReadyFd::ReadyFd() {
  const char* value = std::getenv("TALARIA_READY_FD");
  const std::string text = value == nullptr ? "" : value;
  ::unsetenv("TALARIA_READY_FD");
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number <= STDERR_FILENO) return;
  const int mode = ::fcntl(number, F_GETFL);
  if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY) return;
  ::fcntl(number, F_SETFD, FD_CLOEXEC);
  fd_ = UniqueFd(number);
}

void ReadyFd::ready() {
  if (!fd_) return;
  (void)!::write(fd_.get(), "\n", 1);  // SIGPIPE is ignored: nobody may be interested
  fd_.reset();
}

}  // namespace talaria
