#include "daemon/listeners.h"

#include <fcntl.h>

#include <algorithm>

#include "runtime/log.h"

namespace talaria {

Listeners::Listeners(const Notifier& notifier, std::vector<InheritedFd> inherited)
    : notifier_(notifier), inherited_(std::move(inherited)) {}

// In front: of two with one name, ours is the one that clients wait at.
void Listeners::inherit(std::string name, UniqueFd fd) {
  if (fd) inherited_.insert(inherited_.begin(), InheritedFd{std::move(name), std::move(fd)});
}

Result<Listener> Listeners::open(const std::string& name, const Endpoint& endpoint, bool lasting) {
  Result<Listener> listener = fail(ErrorKind::not_found, "nothing was inherited");
  for (InheritedFd& each : inherited_) {
    if (each.name != name || !each.fd) continue;
    if (!listener) listener = adopt_listener(each.fd, endpoint);
    if (each.fd) {
      if (!listener) log::info("{}", listener.error().what);
      notifier_.remove_stored(name);
    }
  }
  std::erase_if(inherited_, [&](const InheritedFd& each) { return each.name == name; });
  copies_.erase(name);
  if (!listener) listener = listen_on(endpoint);
  if (!listener) return listener;
  UniqueFd copy(::fcntl(listener->fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(errno, "copy a listening socket");
  copies_.insert_or_assign(name, std::move(copy));
  // One that came from the store is known to it; the manager notices and drops the second copy.
  if (lasting) notifier_.store(name, listener->fd.get());
  return listener;
}

Result<> Listeners::replace(const std::string& name, int listener, bool lasting) {
  notifier_.remove_stored(name);
  copies_.erase(name);
  if (listener < 0) return {};
  UniqueFd copy(::fcntl(listener, F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(errno, "copy a listening socket");
  copies_.insert_or_assign(name, std::move(copy));
  if (lasting) notifier_.store(name, listener);
  return {};
}

void Listeners::drop_inherited() {
  for (const InheritedFd& each : inherited_) notifier_.remove_stored(each.name);
  inherited_.clear();
}

void Listeners::close_for_good() {
  drop_inherited();
  for (const auto& [name, copy] : copies_) notifier_.remove_stored(name);
  copies_.clear();
}

std::vector<InheritedFd> Listeners::take_copies() {
  std::vector<InheritedFd> taken;
  for (auto& [name, copy] : copies_) taken.push_back({name, std::move(copy)});
  copies_.clear();
  return taken;
}

}  // namespace talaria
