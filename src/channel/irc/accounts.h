#pragma once
// Who is logged in to which services account, on servers that don't tag each message with it (account-tag).
//
// A nick's account may be believed only while we can see every change of it: the server reports logins and logouts
// (account-notify) for people we share a channel with, and nobody else. So a nick is known from its JOIN
// (extended-join) or our WHOX question until it leaves the last shared channel; outside of that it is unknown, and
// unknown is nobody (R10).

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace talaria::irc {

// Names come folded (casemap.h).
class AccountBook {
 public:
  explicit AccountBook(std::size_t max_nicks = 10'000) : max_nicks_(max_nicks) {}

  // `account`: "" logged out, none: not said.
  void joined(const std::string& nick, const std::string& channel, std::optional<std::string> account);
  void parted(const std::string& nick, const std::string& channel);
  void quit(const std::string& nick) { people_.erase(nick); }
  void renamed(const std::string& from, const std::string& to);
  void account_is(const std::string& nick, std::string account);  // only of people we share a channel with
  void left(const std::string& channel);                          // we did: nobody there is visible through it any more

  // None: logged out or not known.
  [[nodiscard]] std::optional<std::string> account_of(const std::string& nick) const;
  [[nodiscard]] std::size_t size() const { return people_.size(); }

 private:
  struct Person {
    std::set<std::string> channels;  // shared with us
    std::optional<std::string> account;
  };
  std::map<std::string, Person> people_;  // beyond max_nicks_ nobody is added: they stay unknown
  std::size_t max_nicks_;
};

}  // namespace talaria::irc
