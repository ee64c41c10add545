#pragma once
// The configuration as values: what the rest of the house reads. loading.h makes it from TOML.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace talaria {

// Where a secret is, never the secret itself: "env:NAME", "file:/path", "cred:NAME" (a systemd credential,
// systemd.exec(5)).
struct SecretRef {
  enum class Source { environment, file, credential };
  Source source = Source::environment;
  std::string name;

  friend bool operator==(const SecretRef&, const SecretRef&) = default;
};
[[nodiscard]] Result<SecretRef> parse_secret_ref(std::string_view text);
[[nodiscard]] std::string to_string(const SecretRef& ref);
// Reads the secret, at most 64 KiB, one trailing newline cut. An empty secret, a missing variable or file is an error
// that names the reference. A file that others may read (mode & 077) is refused with the chmod that mends it.
[[nodiscard]] Result<std::string> resolve_secret(const SecretRef& ref);

struct GatewayConfig {
  Millis drain_timeout{30'000};
  Millis max_backlog_age{24 * 3'600'000};
  Millis turn_timeout{600'000};   // one attempt of one turn; an agent's own `timeout` is shorter where set
  int max_concurrent_turns = 16;  // over all sessions, 1 to 10 000
  int max_queued_turns = 10'000;  // waiting; more is pushed back on the platform
  int history_turns = 20;         // earlier turns of a session shown to the agent, 0 to 1 000
};

struct StoreConfig {
  std::string url = "sqlite:";
  Millis retention{30LL * 24 * 3'600'000};  // ended turns and sent replies are kept that long
};

struct ApiConfig {
  std::string listen;           // empty: no API. "127.0.0.1:8790", "[::1]:0", "unix:/path"
  std::vector<SecretRef> keys;  // empty: the API refuses everybody (R10)
  int max_connections = 1024;
  std::int64_t max_body = 4 * 1024 * 1024;  // bytes
  bool allow_public = false;                // a bind that is not loopback needs this: there is no TLS here yet
};

struct AgentConfig {
  std::string name;  // of the table, "default"
  std::string kind;  // openai | command | echo
  std::optional<Millis> timeout;
  std::string system;                    // system prompt; empty: none
  std::vector<std::string> attach_from;  // directories whose files may be sent along with answers; empty: none
  // openai
  std::string base_url;
  std::string model;
  std::optional<SecretRef> api_key;
  std::string ca_file;
  // command
  std::vector<std::string> command;
};

struct IrcConfig {
  std::string host;
  std::uint16_t port = 6697;
  bool tls = true;
  std::string nick;
  std::string user;      // default: nick
  std::string realname;  // default: "Talaria"
  std::vector<std::string> join;
  std::string sasl_account;  // SASL PLAIN when set; then sasl_password must be
  std::optional<SecretRef> sasl_password;
  std::optional<SecretRef> server_password;
  double lines_per_second = 1.0;  // flood limit, after a burst of `burst` lines
  int burst = 4;
};

struct ServerAddress {
  std::string host;
  std::uint16_t port = 0;  // 0: the usual one of the protocol
};

struct EmailConfig {
  std::string address;  // ours; what people write to and what answers come from
  std::string name;     // shown beside it; default: "Talaria"
  ServerAddress imap;
  std::string imap_tls = "tls";  // tls | starttls | none
  ServerAddress smtp;
  std::string smtp_tls = "starttls";
  std::string login;  // default: the address
  std::optional<SecretRef> password;
  std::string mailbox = "INBOX";
  std::string verify = "authserv";  // authserv | none
  std::string trusted_authserv;     // authserv-id (RFC 8601) of our own mail server
  bool backlog = false;
  Millis poll{120'000};
  int answers_per_hour = 30;  // to one sender
};

struct WebhookConfig {
  // In: all of it with a scheme, nothing without.
  std::string scheme;               // github | gitlab | standard; empty: nobody may send
  std::optional<SecretRef> secret;  // what senders prove that they know (R10: no secret, no webhook)
  std::vector<std::string> events;  // "issues.opened", "push"; empty: all
  std::string prompt;               // placeholders.h; empty: a description of the report
  std::string session;              // the same; empty: each report has its own
  std::string deliver_to;           // "CHANNEL:CONVERSATION[:THREAD]", or "none"; empty: to url
  bool deliver_only = false;
  // Out
  std::string url;
  std::optional<SecretRef> sign_secret;
};

struct ProgramConfig {
  std::vector<std::string> command;
  std::map<std::string, SecretRef> environment;  // secrets that the program gets, by the names of their variables
  std::string account;                           // empty: any number of gateways may use it at a time
};

struct TelegramConfig {
  std::optional<SecretRef> token;
  std::string api_root = "https://api.telegram.org";
  Millis poll_timeout{50'000};       // how long the server holds a poll that has nothing to tell
  std::string groups = "addressed";  // addressed | all | off
  double messages_per_second = 1.0;  // in one chat
  int group_messages_per_minute = 20;
  std::string webhook_url;  // empty: polls
  std::optional<SecretRef> webhook_secret;
};

struct ChannelConfig {
  std::string name;  // of the table, "libera"
  std::string kind;  // irc | email | telegram | webhook | program
  std::string agent = "default";
  std::vector<std::string> allow;   // rules of the kind (checks.h); empty: nobody (R10)
  std::vector<std::string> admins;  // the same without "*"; they need not be in `allow`
  std::string ca_file;              // PEM; empty: the system's store
  IrcConfig irc;
  EmailConfig email;
  TelegramConfig telegram;
  WebhookConfig webhook;
  ProgramConfig program;
};

struct Config {
  GatewayConfig gateway;
  StoreConfig store;
  ApiConfig api;
  std::map<std::string, AgentConfig> agents;
  std::map<std::string, ChannelConfig> channels;
};

}  // namespace talaria
