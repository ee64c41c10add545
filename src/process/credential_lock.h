#pragma once
// One credential, one connection: two profiles of this machine, whatever user, scope or sandbox they run in, must not
// use one bot account at the same time. Platforms cut off one of the two connections, or give each half of the
// messages.
//
// The lock is a listening UNIX socket with an abstract name (unix(7)) that is a digest of the platform and the account.
// - Only one socket can have a name, and the kernel frees it with its owner, however that ends: nothing is left over.
// - A file would not do. A sandboxed service (PrivateTmp=, ProtectSystem=strict) shares no directory with other users
//   that it may write to, and one that all can write to lets anybody delete the file. Abstract names belong to the
//   network namespace, which a gateway shares with all others that reach the platform by the same way.
// - Who asks learns the owner from the kernel (SO_PEERCRED gives the PID that called listen()), also when it is frozen;
//   the owner's own words (profile, unit, channel) come over the connection.
//
// What it can't do: a container with a network of its own is out of sight. And any local user can take a name before
// us, since names can be seen in /proc/net/unix; then the channel stays down and its status names that process. The
// digest is made of public parts alone (server, nick or account; a bot's number), never of a password, so it helps
// nobody to guess one.

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/deadline.h"
#include "runtime/task.h"

namespace talaria {

// What is locked. Equal parts, one lock.
struct Credential {
  std::string platform;  // "irc"; empty: there is nothing to lock
  std::string account;   // the public name of the account on its platform, in one spelling

  friend bool operator==(const Credential&, const Credential&) = default;
};

// Who has a credential. The words are its own; empty where it gave none.
struct CredentialHolder {
  pid_t pid = 0;  // of the kernel; 0: in a PID namespace that we can't see into
  std::string profile, scope, unit, channel;

  friend bool operator==(const CredentialHolder&, const CredentialHolder&) = default;
};
// One line of JSON; the PID is not part of it. Parsing is strict, at most 4 KiB.
[[nodiscard]] std::string format_credential_holder(const CredentialHolder& holder);
[[nodiscard]] Result<CredentialHolder> parse_credential_holder(std::string_view text);
// "PID 4711, profile work, user service talaria-gateway@work.service, channel libera"; a process that does not speak
// for itself is named by its command line.
[[nodiscard]] std::string describe(const CredentialHolder& holder);

class CredentialLock {
 public:
  // conflict: somebody has it, perhaps we ourselves.
  [[nodiscard]] static Result<CredentialLock> acquire(const Credential& credential);
  // Tells whoever asks who has it, until cancelled. The lock holds without that, too.
  Task<> answer(CredentialHolder self) const;

 private:
  explicit CredentialLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// not_found: nobody has it. An owner that says nothing until the deadline is named by its PID alone.
Task<Result<CredentialHolder>> ask_credential_holder(Credential credential, Deadline deadline);

}  // namespace talaria
