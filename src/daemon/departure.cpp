#include "daemon/departure.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/say.h"
#include "base/time.h"
#include "base/version.h"
#include "lifecycle/exit_code.h"
#include "lifecycle/manager_exit.h"
#include "process/descendants.h"
#include "service/exit_record.h"

namespace talaria {
namespace {

constexpr const char* ourselves = "/proc/self/exe";

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

std::string own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Returns only with the reason why it could not.
std::string execute(const std::string& path, Luggage& luggage) {
  const auto handover = send_handover(luggage);
  if (!handover) return handover.error().what;
  std::string text = own_arguments();
  std::vector<char*> arguments;
  for (std::size_t at = 0; at < text.size(); at = text.find('\0', at) + 1) arguments.push_back(text.data() + at);
  arguments.push_back(nullptr);
  ::execv(path.c_str(), arguments.data());
  return fmt::format("execute {}: {}", path, std::strerror(errno));
}

}  // namespace

Result<Program> look_at_program(const std::string& path) {
  Program program{.path = path, .version = {}, .file = {}};
  if (!path.starts_with('/')) return fail(ErrorKind::invalid, fmt::format("\"{}\" is not an absolute path", path));
  if (::stat(path.c_str(), &program.file) != 0) return fail_errno(errno, path);
  if (!S_ISREG(program.file.st_mode)) return fail(ErrorKind::invalid, fmt::format("{} is not a file", path));
  if (::access(path.c_str(), X_OK) != 0) return fail(ErrorKind::permission, fmt::format("{} is not executable", path));
  return program;
}

Result<std::string> own_program() {
  std::error_code ec;
  std::string path = std::filesystem::read_symlink(ourselves, ec).string();
  if (ec) return fail_errno(ec.value(), fmt::format("read {}", ourselves));
  if (constexpr std::string_view gone = " (deleted)"; path.ends_with(gone)) path.resize(path.size() - gone.size());
  return path;
}

int depart(Departure departure) {
  for (const auto& [name, value] : departure.environment) ::setenv(name.c_str(), value.c_str(), 1);
  auto& luggage = departure.luggage;
  const Program& program = departure.program;
  std::string failure;
  if (!program.path.empty()) {
    const auto now = look_at_program(program.path);
    if (!now)
      failure = now.error().what;
    else if (!same_file(now->file, program.file))
      failure = fmt::format("{} was changed after its self-check", program.path);
    else
      failure = execute(program.path, luggage);
    say("talaria: {}; version {} goes on\n", failure, luggage.facts.from_version);
  }
  luggage.facts.failure = failure;
  failure = execute(ourselves, luggage);
  say("talaria: {}; start the gateway by hand\n", failure);
  return static_cast<int>(ExitCode::unplanned);
}

void give_up(const Luggage& luggage, const std::string& state_directory, const Verdict& verdict) {
  constexpr std::chrono::seconds grace{2};
  constexpr std::chrono::milliseconds pause{10};
  auto alive = living_descendants();
  if (alive) signal_descendants(*alive, SIGTERM);
  for (const auto end = Deadline::in(grace); alive && !alive->empty() && !end.expired(); alive = living_descendants())
    std::this_thread::sleep_for(pause);
  if (!kill_descendants(Deadline::in(grace))) say("talaria: processes that agents had started could not be ended\n");

  RunRow run;
  run.id = luggage.facts.run_id;
  run.pid = luggage.facts.self.pid;
  run.process_start = luggage.facts.self.start_time;
  run.boot_id = luggage.facts.self.boot_id;
  run.version = program_version();
  run.started_at = SystemWallClock().now();
  run.ended_at = run.started_at;
  run.verdict = to_string(verdict.kind);
  run.kind = word_of(verdict);
  run.cause = verdict.cause;
  run.exit_code = static_cast<int>(verdict.exit_code);
  if (auto told = append_exit_line(state_directory, format_told_end(run)); !told)
    say("talaria: the end of this run could not be recorded: {}\n", told.error().what);
}

}  // namespace talaria
