#pragma once
// Readiness for s6: the descriptor that `notification-fd` names gets a newline when the service is up, and is closed
// (https://skarnet.org/software/s6/notifywhenup.html). Its number comes in TALARIA_READY_FD, which the run script sets;
// the variable is taken out of the environment and the descriptor made close-on-exec, so that no child has them.

#include "base/fd.h"

namespace talaria {

class ReadyFd {
 public:
  // Anything but the number of an open descriptor above 2 that can be written to: none.
  ReadyFd();
  void ready();  // the first time counts

 private:
  UniqueFd fd_;
};

}  // namespace talaria
