#include "config/checks.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>

#include "base/text.h"

namespace talaria {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return port;
}

bool is_ipv6(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_ipv4(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 && !text.starts_with('.') && !text.starts_with('-') &&
         std::ranges::all_of(text,
                             [](char c) { return is_letter(c) || is_digit(c) || c == '.' || c == '-' || c == '_'; });
}

// "[::1]:80" → "::1", "80"; "host:80" → "host", "80"; "host" → "host", none.
struct HostAndPort {
  std::string host;
  std::optional<std::string_view> port;
  bool bracketed = false;
};
std::optional<HostAndPort> split_host_port(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    HostAndPort result{std::string(text.substr(1, close - 1)), std::nullopt, true};
    const std::string_view rest = text.substr(close + 1);
    if (rest.empty()) return result;
    if (!rest.starts_with(':')) return std::nullopt;
    result.port = rest.substr(1);
    return result;
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return HostAndPort{std::string(text), std::nullopt};
  return HostAndPort{std::string(text.substr(0, colon)), text.substr(colon + 1)};
}

Complaint check_unix_path(std::string_view path) {
  if (!path.starts_with('/'))
    return "after unix: an absolute path is expected, for example \"unix:/run/talaria/api.sock\"";
  if (path.size() > 107)
    return fmt::format("the path has {} bytes, but a socket's path has at most 107 (unix(7))", path.size());
  return std::nullopt;
}

}  // namespace

std::string quoted(std::string_view text) { return "\"" + printable(truncate_utf8(text, 80)) + "\""; }

Complaint check_text(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return "it holds a NUL byte: remove it";
  return std::nullopt;
}

Complaint check_line(std::string_view text) {
  if (text.empty()) return "it is empty: give a value or remove the key";
  if (std::ranges::any_of(text, is_control))
    return "it holds a control character or a line break: write it on one line";
  return std::nullopt;
}

Complaint check_base_url(std::string_view text) {
  constexpr std::string_view remedy = "write for example \"http://127.0.0.1:11434/v1\"";
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed || !parsed->has_authority() || parsed->host().empty())
    return fmt::format("this is not a URL; {}", remedy);
  if (parsed->scheme_id() != boost::urls::scheme::http && parsed->scheme_id() != boost::urls::scheme::https) {
    return fmt::format("the URL must begin with http:// or https://; {}", remedy);
  }
  if (parsed->has_userinfo())
    return "a URL must not carry a user or password: put the secret into api_key, as a reference";
  if (parsed->has_query() || parsed->has_fragment())
    return fmt::format("the URL must end with its path, without ? or #; {}", remedy);
  if (parsed->has_port() && parse_port(std::string_view(parsed->port())).value_or(0) == 0)
    return fmt::format("the URL's port must be 1 to 65535; {}", remedy);
  return std::nullopt;
}

Complaint check_listen(std::string_view text) {
  constexpr std::string_view remedy =
      R"(write for example "127.0.0.1:8790", "[::1]:8790" or "unix:/run/talaria/api.sock")";
  if (auto complaint = check_line(text)) return complaint;
  if (text.starts_with("unix:")) return check_unix_path(text.substr(5));
  const auto parts = split_host_port(text);
  if (!parts || !parts->port) return fmt::format("{} has no port; {}", quoted(text), remedy);
  if (!parse_port(*parts->port))
    return fmt::format("the port of {} must be a number from 0 to 65535; {}", quoted(text), remedy);
  const bool good = parts->bracketed ? is_ipv6(parts->host) : is_ipv4(parts->host) || parts->host == "localhost";
  if (!good) return fmt::format("the host of {} must be a numeric address or localhost; {}", quoted(text), remedy);
  return std::nullopt;
}

bool is_local_listen(std::string_view text) {
  if (text.starts_with("unix:")) return true;
  const auto parts = split_host_port(text);
  if (!parts) return false;
  if (parts->host == "localhost") return true;
  if (in6_addr address{}; ::inet_pton(AF_INET6, parts->host.c_str(), &address) == 1)
    return IN6_IS_ADDR_LOOPBACK(&address);
  return is_ipv4(parts->host) && parts->host.starts_with("127.");
}

Complaint check_store_url(std::string_view text) {
  if (text == "sqlite:") return std::nullopt;
  return "this version knows \"sqlite:\" alone, a database in the state directory; choose another place for it with "
         "TALARIA_HOME or "
         "XDG_STATE_HOME";
}

Complaint check_absolute_path(std::string_view text) {
  if (auto complaint = check_line(text)) return complaint;
  if (text.starts_with('/')) return std::nullopt;
  return fmt::format("{} must be an absolute path: a service has no directory of its own to start from", quoted(text));
}

Complaint check_irc_nick(std::string_view text) {
  const auto special = [](char c) { return std::string_view("[]\\`_^{|}").find(c) != std::string_view::npos; };
  const bool good =
      !text.empty() && text.size() <= 64 && (is_letter(text.front()) || special(text.front())) &&
      std::ranges::all_of(text, [&](char c) { return is_letter(c) || is_digit(c) || special(c) || c == '-'; });
  if (good) return std::nullopt;
  return fmt::format(
      "{} can't be a nick: it begins with a letter or one of []\\`_^{{|}}, then come letters, digits, those, and -",
      quoted(text));
}

Complaint check_irc_user(std::string_view text) {
  if (auto complaint = check_line(text)) return complaint;
  if (text.size() <= 64 && text.find_first_of(" @!:") == std::string_view::npos) return std::nullopt;
  return fmt::format("{} can't be a user name: at most 64 bytes, without space, @, ! or :", quoted(text));
}

Complaint check_irc_channel(std::string_view text) {
  if (auto complaint = check_line(text)) return complaint;
  const bool good = std::string_view("#&+!").find(text.front()) != std::string_view::npos && text.size() >= 2 &&
                    text.size() <= 200 && text.find_first_of(" ,:") == std::string_view::npos;
  if (good) return std::nullopt;
  return fmt::format(
      "{} can't be a channel: write for example \"#talaria\", one channel per element, without space, comma or colon",
      quoted(text));
}

namespace {

struct RuleWords {
  std::string_view kind;
  std::vector<std::string_view> prefixes;
  std::string_view usage;
  std::string_view person;  // an example
};

const RuleWords& rule_words(std::string_view kind) {
  static const RuleWords table[] = {
      {"irc", {"account:", "nick:", "host:"}, R"("account:NAME", "nick:NAME", "host:PATTERN")", R"("account:alice")"},
      {"telegram",
       {"user:", "username:", "chat:"},
       R"("user:NUMBER", "username:NAME", "chat:NUMBER")",
       R"("user:123456789")"},
      {"program", {"id:"}, R"("id:SENDER")", R"("id:4711")"},
  };
  for (const RuleWords& words : table)
    if (words.kind == kind) return words;
  return table[0];
}

bool is_number(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.size() <= 18 && std::ranges::all_of(text, is_digit);
}

}  // namespace

Complaint check_allow_rule(std::string_view kind, std::string_view text) {
  if (kind == "email") return check_mail_rule(text);
  if (text == "*") return std::nullopt;
  const RuleWords& words = rule_words(kind);
  for (const std::string_view prefix : words.prefixes) {
    if (!text.starts_with(prefix) || text.size() == prefix.size() || text.size() > 300 ||
        std::ranges::any_of(text, is_control) || text.contains(' ')) {
      continue;
    }
    const auto value = text.substr(prefix.size());
    if ((prefix == "user:" || prefix == "chat:") && !is_number(value))
      return fmt::format("{} needs a number after the colon, as Telegram shows it to bots", quoted(text));
    if (prefix == "username:" && value.starts_with('@'))
      return fmt::format("{}: write the name without the @", quoted(text));
    return std::nullopt;
  }
  return fmt::format("{} says not who may write: use {} or \"*\" for everybody", quoted(text), words.usage);
}

Complaint check_admin_rule(std::string_view kind, std::string_view text) {
  if (kind == "email") return check_mail_rule(text);
  const auto& words = rule_words(kind);
  if (text == "*") return fmt::format("everybody can't be an administrator: name them, for example {}", words.person);
  if (text.starts_with("chat:"))
    return fmt::format("a chat can't be an administrator: name people, for example {}", words.person);
  return check_allow_rule(kind, text);
}

Complaint check_telegram_groups(std::string_view text) {
  if (text == "addressed" || text == "all" || text == "off") return std::nullopt;
  return fmt::format("{} is not known: use \"addressed\", \"all\" or \"off\"", quoted(text));
}

Complaint check_telegram_webhook(std::string_view text) {
  const auto parsed = boost::urls::parse_uri(text);
  if (parsed && parsed->scheme_id() == boost::urls::scheme::https && !parsed->host().empty() &&
      !parsed->has_userinfo() && text.size() <= 1000)
    return std::nullopt;
  return R"(this is no address that Telegram can post to; write for example "https://bot.example.org/hooks/NAME", )"
         "where NAME is that of this channel";
}

Complaint check_variable_name(std::string_view text) {
  const bool good = !text.empty() && text.size() <= 200 && !is_digit(text.front()) &&
                    std::ranges::all_of(text, [](char c) { return is_letter(c) || is_digit(c) || c == '_'; });
  if (good) return std::nullopt;
  return fmt::format("{} can't name a variable: use letters, digits and _", quoted(text));
}

Complaint check_mail_rule(std::string_view text) {
  if (text.starts_with("address:") && !check_mail_address(text.substr(8))) return std::nullopt;
  const std::string_view domain = text.starts_with("domain:") ? text.substr(7) : "";
  if (is_host_name(domain) && domain.find('.') != std::string_view::npos) return std::nullopt;
  return fmt::format("{} says not who may write: use \"address:alice@example.org\" or \"domain:example.org\"",
                     quoted(text));
}

// RFC 5321, 4.1.2 without quoted local parts, which nobody has.
Complaint check_mail_address(std::string_view text) {
  const std::size_t at = text.rfind('@');
  const bool good = at != std::string_view::npos && at > 0 && at <= 64 && text.size() <= 254 &&
                    is_host_name(text.substr(at + 1)) && std::ranges::none_of(text.substr(0, at), [](char c) {
                      return is_control(c) || std::string_view(" \"(),:;<>@[\\]").find(c) != std::string_view::npos;
                    });
  if (good) return std::nullopt;
  return fmt::format("{} is no mail address; write for example \"bot@example.org\"", quoted(text));
}

Complaint check_mail_tls(std::string_view text) {
  if (text == "tls" || text == "starttls" || text == "none") return std::nullopt;
  return fmt::format(
      "{} is no way to encrypt; write \"tls\" (from the first byte), \"starttls\" or, on this machine, "
      "\"none\"",
      quoted(text));
}

Complaint check_mail_verify(std::string_view text) {
  if (text == "authserv" || text == "none") return std::nullopt;
  return fmt::format(
      "{} is no way to verify senders; write \"authserv\" (with trusted_authserv), or \"none\" to believe "
      "every From line",
      quoted(text));
}

Complaint check_mailbox(std::string_view text) {
  if (auto complaint = check_line(text)) return complaint;
  const bool ascii = std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) > 0x7E; });
  if (ascii && text.size() <= 200) return std::nullopt;
  return fmt::format(
      "{} must be in IMAP's own spelling, ASCII alone (RFC 3501, 5.1.3), for example "
      "\"Entw&APw-rfe\"",
      quoted(text));
}

bool is_loopback_host(std::string_view host) {
  const std::string text(host);
  if (in6_addr address{}; ::inet_pton(AF_INET6, text.c_str(), &address) == 1) return IN6_IS_ADDR_LOOPBACK(&address);
  return text == "localhost" || (is_ipv4(text) && text.starts_with("127."));
}

Complaint check_instance_name(std::string_view text) {
  const bool good = !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '-';
  });
  if (good) return std::nullopt;
  return fmt::format("{} can't be a name here: use 1 to 64 letters, digits, - and _", quoted(text));
}

Result<std::pair<std::string, std::uint16_t>> parse_server(std::string_view text) {
  constexpr std::string_view remedy = R"(write for example "irc.libera.chat:6697" or "[::1]:6667")";
  const auto bad = [&](std::string_view why) {
    return fail(ErrorKind::invalid, fmt::format("{} {}; {}", quoted(text), why, remedy));
  };
  const auto parts = split_host_port(text);
  if (!parts) return bad("is no host and port");
  if (parts->bracketed ? !is_ipv6(parts->host) : !is_host_name(parts->host))
    return bad("has no host name or address in it");
  if (!parts->port) return std::pair{parts->host, std::uint16_t{0}};
  const auto port = parse_port(*parts->port);
  if (!port || *port == 0) return bad("must have a port from 1 to 65535");
  return std::pair{parts->host, *port};
}

}  // namespace talaria
