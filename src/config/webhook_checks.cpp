// Checks of the keys of kind = "webhook".
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "base/text.h"
#include "config/checks.h"
#include "config/placeholders.h"

namespace talaria {
namespace {

// As it is written, "[::1]" with its brackets.
std::string_view host_in(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  std::string_view authority = url.substr(scheme + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_loopback(std::string_view host) {
  return host == "localhost" || host == "[::1]" || host == "127.0.0.1" ||
         (host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace

Complaint check_webhook_scheme(std::string_view text) {
  constexpr std::array<std::string_view, 3> schemes{"github", "gitlab", "standard"};
  if (std::ranges::find(schemes, text) != schemes.end()) return std::nullopt;
  return fmt::format("{} is no scheme: there is github, gitlab, standard", quoted(text));
}

Complaint check_event_filter(std::string_view text) {
  if (auto complaint = check_line(text)) return complaint;
  const bool good = text.size() <= 200 && !text.starts_with('.') && !text.ends_with('.') &&
                    text.find_first_of(" *") == std::string_view::npos;
  if (good) return std::nullopt;
  return fmt::format("{} is no event: write for example \"issues.opened\", or \"issues\" for all its actions",
                     quoted(text));
}

Complaint check_placeholders(std::string_view text) {
  if (auto complaint = check_text(text)) return complaint;
  if (text.size() > 32 * 1024) return "it is longer than 32 KiB";
  if (const auto pieces = parse_placeholders(text); !pieces) return pieces.error().what;
  return std::nullopt;
}

Result<DeliverTo> parse_deliver_to(std::string_view text) {
  if (text == "none") return DeliverTo{};
  const auto first_colon = text.find(':');
  const auto second_colon = first_colon == std::string_view::npos ? first_colon : text.find(':', first_colon + 1);
  DeliverTo to{std::string(text.substr(0, first_colon)), {}, {}};
  if (first_colon != std::string_view::npos)
    to.conversation = text.substr(first_colon + 1, second_colon - first_colon - 1);
  if (second_colon != std::string_view::npos) to.thread = text.substr(second_colon + 1);
  if (check_instance_name(to.channel) || to.conversation.empty() || check_line(text)) {
    return fail(ErrorKind::invalid,
                fmt::format("{} names no conversation: write CHANNEL:CONVERSATION[:THREAD], for example "
                            "\"libera:#talaria\", or \"none\"",
                            quoted(text)));
  }
  return to;
}

Complaint check_deliver_to(std::string_view text) {
  if (const auto to = parse_deliver_to(text); !to) return to.error().what;
  return std::nullopt;
}

Complaint check_webhook_url(std::string_view text) {
  constexpr std::string_view remedy = "write for example \"https://hooks.example.org/talaria\"";
  const auto parsed = boost::urls::parse_uri(text);
  if (!parsed || !parsed->has_authority() || parsed->host().empty())
    return fmt::format("this is not a URL; {}", remedy);
  const bool https = parsed->scheme_id() == boost::urls::scheme::https;
  if (!https && parsed->scheme_id() != boost::urls::scheme::http)
    return fmt::format("the URL must begin with https://; {}", remedy);
  if (!https && !is_loopback(host_in(text)))
    return fmt::format("http:// is for this machine alone, for example \"http://127.0.0.1:8080/hook\"; else {}",
                       remedy);
  // Boost.URL 1.81 reads what it can't place in a host or a port as a path.
  if (const auto path = parsed->encoded_path(); !path.empty() && path.front() != '/')
    return fmt::format("the host or the port can't be read; {}", remedy);
  if (parsed->has_userinfo()) return "a URL must not carry a user or password: sign_secret proves who sends";
  if (parsed->has_fragment()) return fmt::format("the URL must not have a #; {}", remedy);
  if (parsed->has_port() && (parsed->port_number() == 0))
    return fmt::format("the URL's port must be 1 to 65535; {}", remedy);
  return std::nullopt;
}

}  // namespace talaria
