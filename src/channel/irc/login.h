#pragma once
// The way in: capability negotiation (IRCv3 capability-negotiation, "CAP LS 302"), SASL PLAIN (IRCv3 sasl-3.1, RFC
// 4616), server password, nick and user (RFC 1459 section 4.1). A state machine without input or output of its own: it
// is fed the server's messages and says what to send.
//
// Where an account is configured, it is that account or nobody: a server that offers no SASL, or refuses it, is left,
// since an unauthenticated bot would be somebody else in the eyes of the channel.

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "channel/irc/message.h"

namespace talaria::irc {

struct LoginSettings {
  std::string nick;
  std::string user;      // empty: nick
  std::string realname;  // empty: "Talaria"
  std::string server_password;
  std::string sasl_account;  // empty: no SASL
  std::string sasl_password;
};

struct LoginFailure {
  bool lasting = false;  // wrong configuration: trying again soon would only annoy the server
  std::string what;
};

using Lines = std::vector<std::string>;  // to be sent, without CR LF

class Login {
 public:
  explicit Login(LoginSettings settings);

  [[nodiscard]] Lines start();
  [[nodiscard]] Lines on_message(const Message& message);

  [[nodiscard]] bool registered() const { return registered_; }  // the server has greeted us (001)
  [[nodiscard]] const std::optional<LoginFailure>& failure() const { return failure_; }
  [[nodiscard]] const std::string& nick() const { return nick_; }  // as the server knows it once registered
  [[nodiscard]] bool has(std::string_view capability) const { return enabled_.contains(std::string(capability)); }

 private:
  enum class Sasl { unused, wanted, mechanism_sent, credentials_sent, done };

  Lines on_cap(const Message& message);
  Lines on_offer_complete();
  Lines on_authenticate(const Message& message);
  Lines end_negotiation();
  Lines next_nick();
  Lines request(const std::vector<std::string>& capabilities);
  Lines give_up(bool lasting, std::string what);
  [[nodiscard]] bool can_sasl_plain() const;

  LoginSettings settings_;
  std::string nick_;
  std::set<std::string, std::less<>> offered_;  // "sasl", without values
  std::string sasl_mechanisms_;                 // value of the offer, "PLAIN,EXTERNAL"; may be empty
  std::set<std::string, std::less<>> enabled_;
  Sasl sasl_ = Sasl::unused;
  bool asked_all_ = false;  // the request for everything at once was refused
  bool negotiating_ = true;
  bool registered_ = false;
  int nick_attempts_ = 0;
  std::optional<LoginFailure> failure_;
};

// The AUTHENTICATE lines of SASL PLAIN: base64 in pieces of 400, the last shorter, "+" if none is left over.
[[nodiscard]] Lines sasl_plain_lines(std::string_view account, std::string_view password);

}  // namespace talaria::irc
