// A start that nobody watches, at boot say, names other gateways of this profile in the log. Only processes are looked
// at, which takes a few milliseconds of the loop, once; `gateway status` and `doctor` look at units, too.
#include <cstdlib>

#include "daemon/daemon.h"
#include "runtime/log.h"
#include "service/duplicates.h"

namespace talaria {

Task<> Daemon::name_duplicates() {
  co_await sleep_for(std::chrono::seconds(1));  // first what was waited for, then what is good to know
  DuplicateQuestion question;
  question.profile = options_.paths.profile;
  question.state_directory = options_.paths.state_directory;
  question.manager = supervision_.manager;
  question.unit = supervision_.unit;
  question.own_pid = self_.pid;
  question.explicit_home = std::getenv("TALARIA_HOME") != nullptr;
  for (const Duplicate& other : find_duplicate_processes(question)) log::warning("{}", other.text);
}

}  // namespace talaria
