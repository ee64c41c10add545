#pragma once
// Who may speak to us. Fails closed: no rule, nobody; an account that we don't know for sure matches no account rule; a
// rule that we don't understand matches nobody.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "channel/irc/casemap.h"
#include "channel/irc/message.h"

namespace talaria::irc {

// One entry of `allow`: "nick:bob" (anybody can take an unused nick), "account:alice" (of the network's services),
// "host:*.example"
// (* and ? as wildcards; against user@host where the pattern has an @, else against the host), "*" (everybody).
[[nodiscard]] Result<> check_allow_rule(std::string_view rule);

class AllowList {
 public:
  explicit AllowList(std::vector<std::string> rules) : rules_(std::move(rules)) {}
  // `account`: of the services; none when not logged in or not known.
  [[nodiscard]] bool allows(const Source& source, const std::optional<std::string>& account, CaseMapping mapping) const;
  [[nodiscard]] bool needs_accounts() const;

 private:
  std::vector<std::string> rules_;
};

// * stands for any characters, ? for one byte; without regard to ASCII case. Costs at most |pattern|·|text|.
[[nodiscard]] bool wildcard_match(std::string_view pattern, std::string_view text);

}  // namespace talaria::irc
