// The crash-loop back-off of a start (lifecycle/crash_loop.h). It ends early when its reason may be gone: the
// configuration or the program was changed, the network came back, or an operator asked for the start.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "base/random.h"
#include "daemon/daemon.h"
#include "lifecycle/crash_loop.h"
#include "runtime/log.h"

namespace talaria {
namespace {

constexpr Millis look_time{250};       // changes are noticed within this
constexpr Millis manager_time{1'000};  // for the manager's answer

// Tells one content of a path from another without reading it.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = -1;
  timespec changed{};

  friend bool operator==(const FileStamp& a, const FileStamp& b) {
    return a.device == b.device && a.inode == b.inode && a.size == b.size && a.changed.tv_sec == b.changed.tv_sec &&
           a.changed.tv_nsec == b.changed.tv_nsec;
  }
};
FileStamp stamp_of(const std::string& path) {
  struct stat file{};
  if (::stat(path.c_str(), &file) != 0) return {};
  return {file.st_dev, file.st_ino, file.st_size, file.st_mtim};
}

// Where this program was installed; what is there now may be another one.
std::string program_path() {
  std::error_code ec;
  std::string path = std::filesystem::read_symlink("/proc/self/exe", ec).string();
  constexpr std::string_view gone = " (deleted)";
  if (path.ends_with(gone)) path.resize(path.size() - gone.size());
  return path;
}

bool configuration_is_right(const std::string& file) {
  LoadOutcome loaded = load_config_file(file);
  if (loaded.ok()) (void)resolve_secrets(loaded, file);
  return loaded.ok();
}

End start_anew(std::string cause, bool execute_again) {
  return {{VerdictKind::restart, ExitCode::again, std::move(cause)}, "{}", execute_again};
}

}  // namespace

Task<bool> Daemon::back_off() {
  const int failures = failures_in_a_row(std::exchange(earlier_runs_, {}), clock_.now());
  if (failures == 0 || co_await operator_asked()) co_return true;
  co_return co_await wait_out(crash_loop_delay(failures, random_unit()), failures);
}

Task<bool> Daemon::operator_asked() {
  if (!supervision_.supervised()) co_return ::isatty(STDIN_FILENO) != 0;
  // Other managers start a service in the same way whoever wants it. A person's restart is known all the same: it ended
  // the incarnation before as planned, which ends the row.
  if (!supervision_.by_systemd()) co_return false;
  auto unit = co_await ask_unit(supervision_.manager, supervision_.unit, Deadline::in(manager_time));
  co_return unit && unit->restarts == 0;
}

Task<bool> Daemon::wait_out(Millis delay, int failures) {
  const Deadline until = Deadline::in(delay);
  backoff_until_ = clock_.now() + delay.count();
  const std::string program = program_path();
  const FileStamp program_before = stamp_of(program);
  FileStamp configuration_before = stamp_of(options_.paths.config_file);
  const std::string why = fmt::format("{} failure{} in a row; the next try is at {}, or with `talaria gateway start`",
                                      failures, failures == 1 ? "" : "s", format_rfc3339(backoff_until_));
  log::warning("backing off: {}", why);

  Event wake(executor_);
  TaskGroup listening(executor_);
  const auto wake_on = [&](Event& event) {
    return [](Event& event, Event& wake) -> Task<> {
      co_await event.wait();
      wake.set();
    }(event, wake);
  };
  listening.spawn("end", wake_on(end_.event()));
  listening.spawn("operator", wake_on(start_now_));
  listening.spawn("network", wake_on(network_.back()));
  while (!wake.is_set() && !until.expired()) {
    life_.enter_backing_off(why);
    co_await wake.wait(until.earlier(Deadline::in(look_time)));
    if (stamp_of(program) != program_before) {
      end_.ask(
          start_anew("the program was replaced while a crash loop was waited out", !supervision_.starts_us_again()));
    } else if (const FileStamp now = stamp_of(options_.paths.config_file); now != configuration_before) {
      configuration_before = now;
      if (configuration_is_right(options_.paths.config_file)) {
        end_.ask(start_anew("the configuration was changed while a crash loop was waited out",
                            !supervision_.starts_us_again()));
      }
    }
  }
  co_await listening.stop();
  life_.enter_starting("trying again");
  co_return !end_.asked();
}

}  // namespace talaria
