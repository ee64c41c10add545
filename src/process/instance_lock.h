#pragma once
// One owner per home: an open-file-description write lock (F_OFD_SETLK, fcntl(2)) on <state>/gateway.lock. The kernel
// drops it with its owner, however that ends. The file is never unlinked; its text informs people, the lock decides.

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "process/identity.h"

namespace talaria {

// The text of the lock file: one JSON object and a newline (in the file, blanks before it fill up a fixed size).
struct LockRecord {
  Incarnation incarnation;
  std::string scope;  // user | system | none
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
  // file that was replaced between open and lock is noticed and tried again.
  [[nodiscard]] static Result<InstanceLock> acquire(const std::string& state_directory);

  [[nodiscard]] Result<> write(const LockRecord& record);
  // False: the path no longer names the file we hold (deleted or replaced under us).
  [[nodiscard]] bool path_is_ours() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string path_;
};

struct LockQuestion {
  bool held = false;
  std::optional<LockRecord> record;  // what the file says, when it can be read and parsed; may be stale when not held
  std::string problem;               // why there is no record
};
// Asks with F_OFD_GETLK: never takes the lock, so it can't make a start fail. No file: not held.
[[nodiscard]] Result<LockQuestion> ask_instance_lock(const std::string& state_directory);

}  // namespace talaria
