#pragma once
// Who sent a mail, and whether to believe it. A From line is whatever its writer wants. What can be believed is the
// verdict of our own mail server, which it leaves in an Authentication-Results field under its name, its authserv-id
// (RFC 8601): "dmarc=pass" for the From line's domain, or a DKIM signature or SPF of that very domain ("aligned", RFC
// 7489, 3.1). Servers put their field on top, so the first one with that name counts and no other: a field that the
// writer of a mail has put into it lies below. Within it a failure counts more than a pass of the same method, wherever
// the two stand; quoted strings and comments, in which the writer of a mail may have had a say, count for nothing; and
// one that is not well-formed vouches for nobody.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "channel/email/header.h"

namespace talaria::mail {

struct SenderRules {
  bool verify = true;
  std::string trusted_authserv;
  std::vector<std::string> allow;   // "address:…", "domain:…"
  std::vector<std::string> admins;  // are let in as well
};

struct KnownSender {
  Mailbox mailbox;  // with its name decoded
  bool admin = false;
};

// The sender, when there is exactly one, they are let in, and the mail is really theirs; else why not, fit for the log.
[[nodiscard]] Result<KnownSender> judge_sender(const Header& header, const SenderRules& rules);

// Whether a mail server vouches for `domain`, that of the From line.
[[nodiscard]] Result<> check_authentication(const Header& header, std::string_view authserv, std::string_view domain);

// "address:alice@example.org" or "domain:example.org" (that domain alone, not those below it).
[[nodiscard]] bool matches(const std::vector<std::string>& rules, std::string_view address);

}  // namespace talaria::mail
