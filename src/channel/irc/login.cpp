#include "channel/irc/login.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

namespace talaria::irc {

namespace {

// Asked for where offered. account-tag, account-notify and extended-join tell who is who; chghost our own relayed
// length.
constexpr std::string_view kWanted[] = {"message-tags",  "server-time", "account-tag", "account-notify",
                                        "extended-join", "chghost",     "cap-notify"};

// Different nicks tried before the attempt is given up.
constexpr int kNickAttempts = 12;

// Values come from the configuration, which has checked them; what can't be a line anyway is left out and the server
// complains.
Lines line(std::string_view command, std::vector<std::string> params) {
  auto made = format_line(command, params);
  return made ? Lines{*std::move(made)} : Lines{};
}

Lines operator+(Lines a, Lines b) {
  std::ranges::move(b, std::back_inserter(a));
  return a;
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(n));
  return out;
}

std::vector<std::string_view> words(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (end > 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// The server's own words, last parameter of a numeric.
std::string words_of(const Message& message) {
  return message.params.empty() ? message.command : fmt::format("{} {}", message.command, message.params.back());
}

}  // namespace

Lines sasl_plain_lines(std::string_view account, std::string_view password) {
  std::string plain(account);
  plain += '\0';
  plain += account;
  plain += '\0';
  plain += password;
  const std::string encoded = base64(plain);
  Lines lines;
  for (std::size_t at = 0; at < encoded.size(); at += 400) lines.push_back("AUTHENTICATE " + encoded.substr(at, 400));
  if (encoded.size() % 400 == 0) lines.emplace_back("AUTHENTICATE +");
  return lines;
}

Login::Login(LoginSettings settings) : settings_(std::move(settings)), nick_(settings_.nick) {
  if (settings_.user.empty()) settings_.user = settings_.nick;
  if (settings_.realname.empty()) settings_.realname = "Talaria";
  if (!settings_.sasl_account.empty()) sasl_ = Sasl::wanted;
}

Lines Login::start() {
  Lines out;
  if (!settings_.server_password.empty()) out = line("PASS", {settings_.server_password});
  return std::move(out) + line("CAP", {"LS", "302"}) + line("NICK", {nick_}) +
         line("USER", {settings_.user, "0", "*", settings_.realname});
}

Lines Login::give_up(bool lasting, std::string what) {
  // The first cause is kept.
  if (!failure_) failure_ = LoginFailure{lasting, std::move(what)};
  return {};
}

Lines Login::on_message(const Message& message) {
  const auto& command = message.command;
  if (command == "CAP") return on_cap(message);
  if (command == "NICK") return {};  // the session follows nick changes
  if (registered_) return {};
  if (command == "AUTHENTICATE") return on_authenticate(message);
  if (command == "001") {
    if (!message.param(0).empty()) nick_ = message.param(0);
    if (sasl_ != Sasl::unused && sasl_ != Sasl::done) {
      return give_up(true, "the server let us in without SASL; sasl_account is set, so we leave");
    }
    registered_ = true;
    negotiating_ = false;
    return {};
  }
  // 903 logged in, 907 had been already; 900 comes before and only tells the account.
  if (command == "903" || command == "907") {
    if (sasl_ != Sasl::credentials_sent && command != "907") return {};
    sasl_ = Sasl::done;
    return end_negotiation();
  }
  // IRCv3 sasl-3.1: 902 nick locked, 904 failed, 905 too long, 906 aborted, 908 mechanisms.
  if (command == "902" || command == "904" || command == "905" || command == "906" || command == "908") {
    if (sasl_ == Sasl::unused) return {};
    return give_up(true, fmt::format("SASL login as {} was refused ({}); check sasl_account and sasl_password",
                                     settings_.sasl_account, words_of(message)));
  }
  // In use, collision, unavailable.
  if (command == "433" || command == "436" || command == "437") return next_nick();
  if (command == "431" || command == "432") {
    // A longer nick than the server takes may be our own addition.
    return nick_attempts_ > 0 ? give_up(false, fmt::format("nick {} and its variants are taken", settings_.nick))
                              : give_up(true, fmt::format("the server refuses the nick {} ({}); choose another", nick_,
                                                          words_of(message)));
  }
  if (command == "464")
    return give_up(true,
                   fmt::format("the server's password was refused ({}); check server_password", words_of(message)));
  if (command == "465" || command == "463")
    return give_up(true, fmt::format("the server refuses us ({})", words_of(message)));
  if (command == "421" && message.param(1) == "CAP") {
    // A server from before capabilities.
    if (sasl_ != Sasl::unused)
      return give_up(true, "the server does not know CAP, so no SASL; unset sasl_account or use another server");
    negotiating_ = false;
  }
  if (command == "ERROR") {
    const std::string text = words_of(message);
    std::string lower = text;
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const bool lasting = lower.contains("password") || lower.contains("banned") || lower.contains("-line");
    return give_up(lasting, fmt::format("the server closed the connection: {}", text));
  }
  return {};
}

Lines Login::on_cap(const Message& message) {
  const auto verb = message.param(1);
  if (verb == "LS" || verb == "NEW") {
    const bool more = verb == "LS" && message.params.size() > 3 && message.param(2) == "*";
    for (const auto word : words(message.params.back(), ' ')) {
      const auto equals = word.find('=');
      offered_.emplace(word.substr(0, equals));
      if (word.substr(0, equals) == "sasl") sasl_mechanisms_ = equals == word.npos ? "" : word.substr(equals + 1);
      if (offered_.size() > 256) return give_up(false, "the server offers more than 256 capabilities");
    }
    return verb == "LS" && !more && negotiating_ ? on_offer_complete() : Lines{};
  }
  if (verb == "ACK") {
    for (auto word : words(message.params.back(), ' ')) {
      if (word.starts_with('-')) {
        enabled_.erase(std::string(word.substr(1)));
      } else if (offered_.contains(word)) {
        enabled_.emplace(word);
      }
    }
    if (!negotiating_) return {};
    if (sasl_ == Sasl::wanted && has("sasl")) {
      sasl_ = Sasl::mechanism_sent;
      return line("AUTHENTICATE", {"PLAIN"});
    }
    return sasl_ == Sasl::unused ? end_negotiation() : Lines{};
  }
  if (verb == "NAK" && negotiating_) {
    if (sasl_ == Sasl::unused) return end_negotiation();
    if (asked_all_) return give_up(true, "the server offers SASL but refuses to enable it");
    asked_all_ = true;
    return request({"sasl"});
  }
  if (verb == "DEL") {
    for (const auto word : words(message.params.back(), ' ')) enabled_.erase(std::string(word));
  }
  return {};
}

bool Login::can_sasl_plain() const {
  if (!offered_.contains("sasl")) return false;
  const auto mechanisms = words(sasl_mechanisms_, ',');
  return mechanisms.empty() || std::ranges::find(mechanisms, "PLAIN") != mechanisms.end();
}

Lines Login::on_offer_complete() {
  if (sasl_ == Sasl::wanted && !can_sasl_plain()) {
    return give_up(true, "the server offers no SASL PLAIN; unset sasl_account or use another server");
  }
  std::vector<std::string> wanted;
  for (const auto capability : kWanted) {
    if (offered_.contains(capability)) wanted.emplace_back(capability);
  }
  if (sasl_ == Sasl::wanted) wanted.emplace_back("sasl");
  return wanted.empty() ? end_negotiation() : request(wanted);
}

Lines Login::request(const std::vector<std::string>& capabilities) {
  std::string list;
  for (const auto& capability : capabilities) list += (list.empty() ? "" : " ") + capability;
  return line("CAP", {"REQ", list});
}

Lines Login::on_authenticate(const Message& message) {
  if (sasl_ != Sasl::mechanism_sent || message.param(0) != "+") return {};
  sasl_ = Sasl::credentials_sent;
  return sasl_plain_lines(settings_.sasl_account, settings_.sasl_password);
}

Lines Login::end_negotiation() {
  if (!negotiating_) return {};
  negotiating_ = false;
  return line("CAP", {"END"});
}

Lines Login::next_nick() {
  if (++nick_attempts_ > kNickAttempts)
    return give_up(false, fmt::format("nick {} and its variants are taken", settings_.nick));
  // talaria_, talaria__, talaria___, then talaria4 …: underscores are what people know, numbers fit in short nicks. How
  // long a nick may be is not known yet; RFC 1459 has nine characters, and servers cut or refuse what is too long.
  nick_ = nick_attempts_ <= 3 ? settings_.nick + std::string(static_cast<std::size_t>(nick_attempts_), '_')
                              : settings_.nick.substr(0, 7) + std::to_string(nick_attempts_);
  return line("NICK", {nick_});
}

}  // namespace talaria::irc
