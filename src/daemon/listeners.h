#pragma once
// Listening sockets that outlive a process. A socket stays open as long as any copy of its descriptor does, and those
// who connect while nobody accepts wait in its backlog (net.core.somaxconn of them) instead of being refused. Copies
// are kept by the service manager's fd store over a restart and a crash, and by this process itself over an execve(2).

#include <map>
#include <string>
#include <vector>

#include "net/listen.h"
#include "service/fd_store.h"
#include "service/notify.h"

namespace talaria {

class Listeners {
 public:
  // `inherited`: what earlier processes left open, by name.
  Listeners(const Notifier& notifier, std::vector<InheritedFd> inherited);

  // The socket of that name: the inherited one when it is what `endpoint` says, else a new one; stored with the manager
  // when `lasting`. One that does not fit is closed and taken out of the store. May be called again after an error.
  [[nodiscard]] Result<Listener> open(const std::string& name, const Endpoint& endpoint, bool lasting);

  void inherit(std::string name, UniqueFd fd);
  // The socket of that name is this one now (-1: there is none any more), already listening; the one before goes.
  Result<> replace(const std::string& name, int listener, bool lasting);

  // Closes what was inherited and not opened, and takes it out of the store: a standby must leave the addresses to the
  // owner, and nobody accepts at one that the configuration no longer names.
  void drop_inherited();
  // No successor will come: from now on clients are refused promptly.
  void close_for_good();
  // A successor will be started with the store's copies; ours go with the server.
  void leave_to_manager() { copies_.clear(); }
  // Ours, for a program that takes this process over.
  [[nodiscard]] std::vector<InheritedFd> take_copies();

 private:
  const Notifier& notifier_;
  std::vector<InheritedFd> inherited_;
  std::map<std::string, UniqueFd> copies_;
};

}  // namespace talaria
