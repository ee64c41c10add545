// The home: its directories, its owner, its store.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>

#include "cli/doctor/doctor.h"
#include "process/instance_lock.h"
#include "store/database.h"

namespace talaria::cli::doctor {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t too_little = 16ULL << 20;  // the store can't grow
constexpr std::uint64_t soon_too_little = 256ULL << 20;

// True: it is there and can be judged.
bool look_at(const Patient& patient, const std::string& path, mode_t forbidden, Findings& findings) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return false;
    findings.warn(fmt::format("{} can't be seen by this user", path), "sudo " + patient.talaria() + " doctor");
    return false;
  }
  const auto& runner = patient.runner;
  // A link to a directory is the operator's way to another disk.
  if (S_ISLNK(found.st_mode) && ::stat(path.c_str(), &found) != 0) {
    findings.fail(path + " is a link to nowhere", "rm " + path);
    return false;
  }
  const bool root_is_fine = forbidden == 0027;  // the configuration of a system service is root's, and for reading
  if (runner.known && found.st_uid != runner.uid && !(root_is_fine && found.st_uid == 0))
    findings.fail(fmt::format("{} belongs to user {}, the gateway runs as {}", path, found.st_uid, runner.name),
                  fmt::format("sudo chown -R {} {}", runner.name, path));
  if ((found.st_mode & forbidden) != 0)
    findings.fail(fmt::format("{} is open to others (mode {:04o})", path, found.st_mode & 07777U),
                  fmt::format("chmod {} {}", S_ISDIR(found.st_mode) ? (root_is_fine ? "750" : "700") : "600", path));
  return true;
}

std::string in_mib(std::uint64_t bytes) { return fmt::format("{} MiB", bytes >> 20); }

}  // namespace

void check_directories(Patient& patient, Findings& findings) {
  const auto& paths = patient.paths;
  const auto said = findings.all().size();
  const mode_t config_forbidden = patient.scope == Scope::system ? 0027 : 0022;
  (void)look_at(patient, fs::path(paths.config_file).parent_path().string(), config_forbidden, findings);
  if (look_at(patient, paths.state_directory, 0077, findings))
    for (const char* file : {"/gateway.lock", "/talaria.db", "/exits.jsonl"})
      (void)look_at(patient, paths.state_directory + file, 0077, findings);
  (void)look_at(patient, paths.runtime_directory, 0077, findings);
  const bool own = ::geteuid() == patient.runner.uid && patient.runner.known;
  if (own && ::access(paths.state_directory.c_str(), F_OK) == 0 && ::access(paths.state_directory.c_str(), W_OK) != 0)
    findings.fail(fmt::format("{} can't be written to", paths.state_directory),
                  "ls -ld " + paths.state_directory + " and: findmnt -T " + paths.state_directory);
  if (findings.all().size() == said) findings.ok(paths.state_directory);
}

void check_space(Patient& patient, Findings& findings) {
  struct statvfs disk{};
  auto at = fs::path(patient.paths.state_directory);
  while (::statvfs(at.c_str(), &disk) != 0 && at.has_relative_path()) at = at.parent_path();  // not made yet
  const auto free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  const auto df = "df -h " + at.string();
  if ((disk.f_flag & ST_RDONLY) != 0)
    return findings.fail(fmt::format("the file system of {} is read-only", at.string()), "findmnt -T " + at.string());
  if (disk.f_files > 0 && disk.f_favail == 0)
    return findings.fail(fmt::format("the file system of {} has no inodes left", at.string()), "df -i " + at.string());
  if (free < too_little) return findings.fail(fmt::format("{} free for {}", in_mib(free), at.string()), df);
  if (free < soon_too_little) return findings.warn(fmt::format("only {} free for {}", in_mib(free), at.string()), df);
  findings.ok(in_mib(free) + " free");
}

void check_owner(Patient& patient, Findings& findings) {
  const auto& status = patient.status;
  const std::string_view state = status.at("state").as_string();
  const auto lock = ask_instance_lock(patient.paths.state_directory);
  if (!lock) {
    if (lock.error().kind == ErrorKind::permission)
      return findings.warn(lock.error().what, "sudo " + patient.talaria() + " doctor");
    return findings.fail(lock.error().what, "ls -l " + patient.paths.state_directory);
  }
  if (state == "unknown") {
    const auto* pid = status.at("pid").if_int64();
    return findings.fail(
        fmt::format("{} owns the home and does not answer: {}",
                    pid == nullptr ? "a process" : fmt::format("PID {}", *pid),
                    std::string_view(status.at("detail").as_string())),
        patient.has_unit() ? patient.talaria() + " gateway restart" : patient.talaria() + " gateway run --replace");
  }
  if (!lock->held) return findings.ok(fmt::format("nobody owns the home; state: {}", state));
  if (!lock->record)
    return findings.warn(fmt::format("the home is owned, but its lock file says nothing: {}", lock->problem),
                         patient.talaria() + " gateway restart");
  findings.ok(fmt::format("PID {} owns the home and answers; state: {}", lock->record->incarnation.pid, state));
}

void check_store(Patient& patient, Findings& findings) {
  auto db = Database::open_to_read(patient.paths.database());
  if (!db) {
    if (db.error().kind == ErrorKind::not_found) return findings.ok("no store yet");
    if (db.error().kind == ErrorKind::permission)
      return findings.warn(db.error().what, "sudo " + patient.talaria() + " doctor");
    return findings.fail(db.error().what, "ls -l " + patient.paths.database());
  }
  // Everything but the indices' contents (https://sqlite.org/pragma.html#pragma_quick_check).
  auto check = (*db)->prepare("PRAGMA quick_check(5)");
  if (!check) return findings.fail(check.error().what, "ls -l " + patient.paths.database());
  const auto mend = fmt::format("stop the gateway, keep a copy, then: sqlite3 {} .recover", patient.paths.database());
  bool good = true;
  for (;;) {
    const auto row = check->step();
    if (!row) return findings.fail(row.error().what, mend);
    if (!*row) break;
    if (const auto said = check->text(0); said != "ok") {
      good = false;
      findings.fail(fmt::format("{}: {}", patient.paths.database(), said), mend);
    }
  }
  if (good) findings.ok(patient.paths.database());
}

}  // namespace talaria::cli::doctor
