#pragma once
// Who may speak to us. Fails closed: no rule, nobody; a rule that we don't understand matches nobody.

#include <string>
#include <vector>

#include "channel/telegram/update.h"

namespace talaria::telegram {

// Rules of config/checks.h: "user:123" (an account's number, which never changes), "username:alice" (whoever has that
// name now), "chat:-100123" (everybody in that chat), "*" (everybody).
class AllowList {
 public:
  explicit AllowList(std::vector<std::string> rules) : rules_(std::move(rules)) {}
  [[nodiscard]] bool allows(const Message& message) const;

 private:
  std::vector<std::string> rules_;
};

}  // namespace talaria::telegram
