#pragma once
// One owner per home, by two locks of the kernel's that end with their holder, however that ends:
//   - flock(2) on the state directory itself. Its inode is the home's identity, so no deleted file makes a second
//   owner.
//   - F_OFD_SETLK (fcntl(2)) on <state>/gateway.lock, which can be asked for (F_OFD_GETLK) without being taken.
// The file is never unlinked; its text informs people, the locks decide.

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "process/identity.h"

namespace talaria {

// The text of the lock file: one JSON object and a newline (in the file, blanks before it fill up a fixed size).
struct LockRecord {
  Incarnation incarnation;
  std::string scope;  // user | system (systemd's), none, or another manager's name (service/manager.h)
  std::string unit;   // empty: no unit
  std::string version;
  std::string control_socket;
  std::int64_t since = 0;  // Unix milliseconds

  friend bool operator==(const LockRecord&, const LockRecord&) = default;
};
[[nodiscard]] std::string format_lock_record(const LockRecord& record);
[[nodiscard]] Result<LockRecord> parse_lock_record(std::string_view text);  // at most 16 KiB, strict

class InstanceLock {
 public:
  // conflict: somebody else owns it. Other errors (no space, read-only, permission) say what failed on which path. A
  // file that was replaced between open and lock is noticed and tried again; one of our own that nobody may open
  // (mode 000) gets mode 0600.
  [[nodiscard]] static Result<InstanceLock> acquire(const std::string& state_directory);
  // Of descriptors that hold both locks already: those of the program that executed us (gateway upgrade). conflict:
  // they don't.
  [[nodiscard]] static Result<InstanceLock> adopt(const std::string& state_directory, UniqueFd file, UniqueFd home);

  [[nodiscard]] Result<> write(const LockRecord& record);
  // False: the path no longer names the file we hold (deleted or replaced under us).
  [[nodiscard]] bool path_is_ours() const;
  // Where the file was deleted or replaced: locks the one that is there now, made where missing, and writes the last
  // record into it. not_found: the home itself is gone or another one stands at its path; conflict: somebody owns the
  // new file.
  [[nodiscard]] Result<> restore();
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] int home_fd() const { return home_.get(); }  // -1: the file system knows no flock on directories

 private:
  UniqueFd home_;
  UniqueFd fd_;
  std::string directory_;
  std::string path_;
  std::optional<LockRecord> record_;  // what was written last
};

// Who holds the home's directory lock, as the kernel says (proc(5), /proc/locks): nobody's file is believed.
// not_found: nobody, or somebody that this PID namespace does not show.
[[nodiscard]] Result<Incarnation> find_home_owner(const std::string& state_directory);
// Parses the text of /proc/locks: the PID that holds a FLOCK on that inode. For tests and fuzzing.
[[nodiscard]] std::optional<pid_t> parse_proc_locks(std::string_view text, unsigned device_major, unsigned device_minor,
                                                    std::uint64_t inode);

struct LockQuestion {
  bool held = false;
  std::optional<LockRecord> record;  // what the file says, when it can be read and parsed; may be stale when not held
  std::string problem;               // why there is no record
};
// Asks with F_OFD_GETLK: never takes the lock, so it can't make a start fail. No file: not held.
[[nodiscard]] Result<LockQuestion> ask_instance_lock(const std::string& state_directory);

}  // namespace talaria
