#include "channel/irc/accounts.h"

namespace talaria::irc {

void AccountBook::joined(const std::string& nick, const std::string& channel, std::optional<std::string> account) {
  if (!people_.contains(nick) && people_.size() >= max_nicks_) return;
  Person& person = people_[nick];
  person.channels.insert(channel);
  if (account) person.account = std::move(account);
}

void AccountBook::parted(const std::string& nick, const std::string& channel) {
  const auto found = people_.find(nick);
  if (found == people_.end()) return;
  found->second.channels.erase(channel);
  if (found->second.channels.empty()) people_.erase(found);
}

void AccountBook::renamed(const std::string& from, const std::string& to) {
  if (from == to) return;
  auto person = people_.extract(from);
  people_.erase(to);  // whoever had it is gone
  if (person.empty()) return;
  person.key() = to;
  people_.insert(std::move(person));
}

void AccountBook::account_is(const std::string& nick, std::string account) {
  const auto found = people_.find(nick);
  if (found != people_.end()) found->second.account = std::move(account);
}

void AccountBook::left(const std::string& channel) {
  for (auto at = people_.begin(); at != people_.end();) {
    at->second.channels.erase(channel);
    at = at->second.channels.empty() ? people_.erase(at) : std::next(at);
  }
}

std::optional<std::string> AccountBook::account_of(const std::string& nick) const {
  const auto found = people_.find(nick);
  if (found == people_.end() || !found->second.account || found->second.account->empty()) return {};
  return found->second.account;
}

}  // namespace talaria::irc
