#include <fmt/format.h>

#include <algorithm>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "net/http_client.h"

namespace talaria {

namespace {

bool is_host_name(std::string_view host) {
  return !host.empty() && host.size() <= 253 && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  });
}

}  // namespace

// The text is not repeated in errors about user information: it holds a secret then.
Result<HttpUrl> parse_http_url(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(
        ErrorKind::invalid,
        fmt::format("\"{}\" is not an HTTP address: {}; write for example \"https://api.example.org/v1\"", text, why));
  };
  const auto parsed = boost::urls::parse_uri(boost::core::string_view(text.data(), text.size()));
  if (!parsed) {
    if (text.find('@') != std::string_view::npos)
      return fail(ErrorKind::invalid, "the HTTP address can't be read, and it seems to hold a secret");
    return bad(parsed.error().message());
  }
  const boost::urls::url_view& url = *parsed;
  if (url.has_userinfo()) {
    return fail(
        ErrorKind::invalid,
        fmt::format(
            "the address of {} holds user information; secrets don't belong into addresses, configure a key instead",
            std::string(url.encoded_host())));
  }
  HttpUrl result;
  if (url.scheme_id() == boost::urls::scheme::https) {
    result.origin.tls = true;
    result.origin.port = 443;
  } else if (url.scheme_id() != boost::urls::scheme::http) {
    return bad("it must begin with http:// or https://");
  }
  if (url.host_type() == boost::urls::host_type::ipvfuture) return bad("the host can't be read");
  result.origin.host = url.host_address();
  if (url.host_type() != boost::urls::host_type::ipv6 && !is_host_name(result.origin.host))
    return bad("the host name is missing or wrong");
  // Boost.URL 1.81 reads the rest of "http://x:80y/" as a path.
  const auto path = url.encoded_path();
  if (!path.empty() && path.front() != '/') return bad("the port must be a number from 1 to 65535");
  if (url.has_port() && !url.port().empty()) {
    result.origin.port = url.port_number();
    if (result.origin.port == 0) return bad("the port must be a number from 1 to 65535");
  }
  result.target = std::string(url.encoded_target());
  if (!result.target.starts_with('/')) result.target.insert(0, 1, '/');
  return result;
}

}  // namespace talaria
