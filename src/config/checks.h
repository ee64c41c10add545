#pragma once
// Checks of single values. Each returns nothing when the value is good, else what is wrong with it and what to write
// instead.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace talaria {

using Complaint = std::optional<std::string>;

// A value in a complaint: in quotes, cut, and harmless to a terminal.
[[nodiscard]] std::string quoted(std::string_view text);

[[nodiscard]] Complaint check_line(std::string_view text);  // not empty, no control characters
[[nodiscard]] Complaint check_text(std::string_view text);  // no NUL byte; may be empty or have many lines
[[nodiscard]] Complaint check_base_url(
    std::string_view text);  // http(s), a host, no user, query or fragment; never quoted
[[nodiscard]] Complaint check_listen(std::string_view text);     // "127.0.0.1:8790", "[::1]:0", "unix:/path"
[[nodiscard]] Complaint check_store_url(std::string_view text);  // "sqlite:"
[[nodiscard]] Complaint check_absolute_path(std::string_view text);
[[nodiscard]] Complaint check_irc_nick(
    std::string_view text);  // RFC 2812, 2.3.1; at most 64 bytes, servers allow fewer
[[nodiscard]] Complaint check_irc_user(std::string_view text);
[[nodiscard]] Complaint check_irc_channel(std::string_view text);  // RFC 2812, 1.3
// Who may write, in the words of a kind of channel: irc "account:…", "nick:…", "host:…"; telegram "user:…",
// "username:…", "chat:…"; both "*"; email as check_mail_rule(). An administrator is a person: neither "*" nor "chat:…".
[[nodiscard]] Complaint check_allow_rule(std::string_view kind, std::string_view text);
[[nodiscard]] Complaint check_admin_rule(std::string_view kind, std::string_view text);
[[nodiscard]] Complaint check_telegram_groups(std::string_view text);   // "addressed", "all", "off"
[[nodiscard]] Complaint check_telegram_webhook(std::string_view text);  // "https://…"
[[nodiscard]] Complaint check_mail_rule(std::string_view text);     // "address:alice@example.org", "domain:example.org"
[[nodiscard]] Complaint check_mail_address(std::string_view text);  // "bot@example.org", without a name
[[nodiscard]] Complaint check_mail_tls(std::string_view text);      // "tls", "starttls", "none"
[[nodiscard]] Complaint check_mail_verify(std::string_view text);   // "authserv", "none"
[[nodiscard]] Complaint check_mailbox(std::string_view text);       // of IMAP, as it is named there
[[nodiscard]] Complaint check_instance_name(std::string_view text);  // of an agent or a channel

[[nodiscard]] Complaint check_variable_name(std::string_view text);   // of an environment
[[nodiscard]] Complaint check_webhook_scheme(std::string_view text);  // "github", "gitlab", "standard"
[[nodiscard]] Complaint check_event_filter(std::string_view text);    // "issues.opened"
[[nodiscard]] Complaint check_placeholders(std::string_view text);    // see placeholders.h
[[nodiscard]] Complaint check_deliver_to(std::string_view text);      // see parse_deliver_to()
[[nodiscard]] Complaint check_webhook_url(std::string_view text);     // https, or http to loopback; never quoted

// "libera:#talaria", "forum:room:thread" → its parts; "none": all empty.
struct DeliverTo {
  std::string channel, conversation, thread;
};
[[nodiscard]] Result<DeliverTo> parse_deliver_to(std::string_view text);

// A listen address that only this machine can reach. The address must have passed check_listen.
[[nodiscard]] bool is_local_listen(std::string_view text);

// A host that is this machine, by name or address: "localhost", "127.0.0.1", "::1".
[[nodiscard]] bool is_loopback_host(std::string_view host);

// "irc.libera.chat:6697", "[::1]:6667", "irc.example" (port 0) → host without brackets, port.
[[nodiscard]] Result<std::pair<std::string, std::uint16_t>> parse_server(std::string_view text);

}  // namespace talaria
