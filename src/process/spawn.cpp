// posix_spawn(3) instead of fork(2): the child borrows our memory until it executes (CLONE_VFORK), so that starting one
// costs the same however large we are, and no code of ours runs between fork and exec with other threads' locks held.
//
// What it can't do is PR_SET_PDEATHSIG. Should we be killed, the service manager ends what is left in our cgroup
// (KillMode=mixed); without a manager the children see end of file on their input.

#include "process/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "process/pidfd.h"

namespace talaria {

namespace {

// Meant for this process by its service manager; in a child they would be lies (sd_notify(3), sd_listen_fds(3)).
bool is_from_manager(std::string_view name) {
  return name == "NOTIFY_SOCKET" || name.starts_with("WATCHDOG_") || name.starts_with("LISTEN_");
}

std::string_view name_of(std::string_view entry) { return entry.substr(0, entry.find('=')); }

bool has_zero(const std::string& text) { return text.contains('\0'); }

Result<> check(const ChildSpec& spec) {
  if (spec.command.empty() || spec.command[0].empty()) return fail(ErrorKind::invalid, "there is no command to start");
  if (std::ranges::any_of(spec.command, has_zero) || std::ranges::any_of(spec.environment, has_zero) ||
      has_zero(spec.working_directory))
    return fail(ErrorKind::invalid,
                fmt::format("a zero byte in the command line or environment of {}", name_of(spec.command[0])));
  for (const auto& entry : spec.environment)
    if (name_of(entry).empty() || !entry.contains('='))
      return fail(ErrorKind::invalid, fmt::format("\"{}\" is no NAME=value for the environment", name_of(entry)));
  return {};
}

// One pipe. Both ends stay clear of 0, 1 and 2, should those be closed: whatever is printed by habit would go to a
// child.
struct PipeEnds {
  UniqueFd read;
  UniqueFd write;
};
Result<PipeEnds> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  PipeEnds pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
  for (UniqueFd* end : {&pipe.read, &pipe.write}) {
    if (end->get() > STDERR_FILENO) continue;
    UniqueFd higher(::fcntl(end->get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!higher) return fail_errno(errno, "make a pipe");
    *end = std::move(higher);
  }
  return pipe;
}

// What posix_spawn is told, freed at the end of its scope. Errors are ENOMEM only.
class SpawnOptions {
 public:
  SpawnOptions() {
    note(::posix_spawn_file_actions_init(&actions_));
    note(::posix_spawnattr_init(&attributes_));
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    // We block signals for signalfd and ignore SIGPIPE; both would be inherited through exec.
    note(::posix_spawnattr_setsigmask(&attributes_, &none));
    note(::posix_spawnattr_setsigdefault(&attributes_, &all));
    note(::posix_spawnattr_setpgroup(&attributes_, 0));
    note(::posix_spawnattr_setflags(&attributes_,
                                    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  }
  SpawnOptions(const SpawnOptions&) = delete;
  SpawnOptions& operator=(const SpawnOptions&) = delete;
  ~SpawnOptions() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  void stream(int fd, int number) { note(::posix_spawn_file_actions_adddup2(&actions_, fd, number)); }
  void directory(const std::string& path) { note(::posix_spawn_file_actions_addchdir_np(&actions_, path.c_str())); }
  // Also what some library opened without close-on-exec.
  void close_the_rest() { note(::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1)); }

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] const posix_spawn_file_actions_t* actions() const { return &actions_; }
  [[nodiscard]] const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  void note(int error) {
    if (error_ == 0) error_ = error;
  }
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  int error_ = 0;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Until the child is claimed nothing is reaped: it may have ended already.
int start(SpawnedProcess& process, const ChildSpec& spec, const SpawnOptions& options, std::vector<char*> arguments,
          std::vector<char*> environment) {
  ChildStart start;
  const int error = ::posix_spawnp(&process.pid, spec.command[0].c_str(), options.actions(), options.attributes(),
                                   arguments.data(), environment.data());
  if (error == 0) process.claim = start.claim(process.pid);
  return error;
}

std::unexpected<Error> start_failed(int err, const ChildSpec& spec) {
  struct stat there{};
  if (!spec.working_directory.empty() &&
      (::stat(spec.working_directory.c_str(), &there) != 0 || !S_ISDIR(there.st_mode)))
    return fail(ErrorKind::not_found,
                fmt::format("start {}: there is no directory {}", spec.command[0], spec.working_directory));
  if (err == E2BIG)
    return fail(ErrorKind::invalid,
                fmt::format("start {}: its arguments and environment are too long", spec.command[0]));
  if (err == ENOEXEC)
    return fail(ErrorKind::invalid,
                fmt::format("start {}: it is no program; a script begins with #!", spec.command[0]));
  return fail_errno(err, fmt::format("start {}", spec.command[0]));
}

}  // namespace

std::vector<std::string> child_environment(const ChildSpec& spec) {
  std::vector<std::string> result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view name = name_of(*entry);
    const auto is_name = [name](std::string_view other) { return other == name; };
    const bool replaced = std::ranges::any_of(spec.environment, is_name, [](const auto& e) { return name_of(e); });
    if (replaced || is_from_manager(name) || std::ranges::any_of(spec.hidden, is_name)) continue;
    result.emplace_back(*entry);
  }
  result.insert(result.end(), spec.environment.begin(), spec.environment.end());
  return result;
}

Result<SpawnedProcess> spawn_group(const ChildSpec& spec) {
  if (const auto ok = check(spec); !ok) return std::unexpected(ok.error());
  auto in = make_pipe();
  if (!in) return std::unexpected(in.error());
  auto out = make_pipe();
  if (!out) return std::unexpected(out.error());
  auto err = make_pipe();
  if (!err) return std::unexpected(err.error());

  SpawnOptions options;
  options.stream(in->read.get(), STDIN_FILENO);
  options.stream(out->write.get(), STDOUT_FILENO);
  options.stream(err->write.get(), STDERR_FILENO);
  if (!spec.working_directory.empty()) options.directory(spec.working_directory);
  options.close_the_rest();
  if (options.error() != 0) return fail_errno(options.error(), fmt::format("start {}", spec.command[0]));

  // Only our ends: the child's are open files of their own and must block as every program expects.
  for (const int fd : {in->write.get(), out->read.get(), err->read.get()})
    if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "make a pipe");

  auto arguments = spec.command;
  auto environment = child_environment(spec);
  SpawnedProcess process;
  if (const int error = start(process, spec, options, pointers(arguments), pointers(environment)); error != 0)
    return start_failed(error, spec);
  // Safe although it comes second: nobody but us can reap the child.
  process.pidfd = UniqueFd(::pidfd_open(process.pid, 0));
  if (!process.pidfd) {
    const int why = errno;
    ::kill(-process.pid, SIGKILL);
    ::waitid(P_PID, static_cast<id_t>(process.pid), nullptr, WEXITED);
    process.claim.release();
    return fail_errno(why, fmt::format("open a pidfd for {}", spec.command[0]));
  }
  process.in = std::move(in->write);
  process.out = std::move(out->read);
  process.err = std::move(err->read);
  return process;
}

}  // namespace talaria
