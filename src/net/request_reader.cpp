#include "net/request_reader.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>

#include "net/beast_parser.h"
#include "net/http_wire.h"

namespace talaria {

namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t max_request_fields = 128;
constexpr std::size_t max_blank_lines = 4;           // before a request line, RFC 9112, 2.2
constexpr std::size_t max_body_reserve = 64 * 1024;  // a claim in Content-Length reserves no more than this

// Beast's parser, writing straight into an HttpRequest.
class RequestParser final : public http::basic_parser<true> {
 public:
  RequestParser(std::size_t header_bytes, std::size_t body_bytes) : header_left_(header_bytes) {
    header_limit(
        static_cast<std::uint32_t>(std::min<std::size_t>(header_bytes, std::numeric_limits<std::uint32_t>::max())));
    body_limit(body_bytes);
    eager(true);
  }

  HttpRequest request;
  std::optional<HttpRejection> rejection;
  bool http11 = false;
  bool wants_continue = false;
  bool head_complete = false;
  [[nodiscard]] std::size_t header_left() const { return header_left_; }

 private:
  void reject(int status, const char* message, error_code& ec) {
    rejection = HttpRejection{status, message};
    ec = http::error::bad_field;
  }

  // Beast forgets what it has handed over, so that a head that trickles in could be of any size.
  void count_header(std::size_t bytes, error_code& ec) {
    if (bytes > header_left_) {
      ec = http::error::header_limit;
    } else {
      header_left_ -= bytes;
    }
  }

  void on_request_impl(http::verb, BeastView method, BeastView target, int version, error_code& ec) override {
    request.method = view(method);
    request.target = view(target);
    http11 = version == 11;
    count_header(method.size() + target.size() + 12, ec);
  }

  void on_response_impl(int, BeastView, int, error_code&) override {}

  void on_field_impl(http::field, BeastView name, BeastView value, error_code& ec) override {
    if (head_complete) return;  // a trailer: nobody asked for it
    count_header(name.size() + value.size() + 4, ec);
    if (request.headers.all().size() >= max_request_fields) ec = http::error::header_limit;
    if (!ec) request.headers.add(std::string(view(name)), std::string(view(value)));
  }

  void on_header_impl(error_code& ec) override {
    head_complete = true;
    check_framing(ec);
    if (!ec) check_target_and_host(ec);
    wants_continue = http11 && equals_ignoring_case(request.headers.get("Expect"), "100-continue");
  }

  void check_framing(error_code& ec) {
    if (!request.headers.has("Transfer-Encoding")) return;
    // Whatever is not exactly one "chunked" could be framed otherwise by somebody before us (RFC 9112, 6.1).
    // (A second field of that name is an error to Beast.)
    if (!equals_ignoring_case(request.headers.get("Transfer-Encoding"), "chunked")) {
      return reject(501, "the only transfer coding understood here is chunked", ec);
    }
    if (!http11) reject(400, "HTTP/1.0 has no transfer coding", ec);
  }

  void check_target_and_host(error_code& ec) {
    // Absolute form (RFC 9112, 3.2.2) is what clients send to a proxy; a server has to accept it.
    for (const std::string_view scheme : {"http://", "https://"}) {
      if (!request.target.starts_with(scheme)) continue;
      const auto slash = request.target.find_first_of("/?", scheme.size());
      request.target.erase(0, std::min(slash, request.target.size()));
      if (!request.target.starts_with('/')) request.target.insert(0, 1, '/');
    }
    if (!request.target.starts_with('/') && request.target != "*") {
      return reject(400, "the request target must be a path", ec);
    }
    const auto hosts = std::ranges::count_if(
        request.headers.all(), [](const auto& field) { return equals_ignoring_case(field.first, "Host"); });
    if (hosts > 1 || (http11 && hosts == 0)) reject(400, "exactly one Host header is required", ec);
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
    if (length) request.body.reserve(std::min<std::size_t>(*length, max_body_reserve));
  }
  std::size_t on_body_impl(BeastView body, error_code&) override {
    request.body.append(body.data(), body.size());
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastView, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView body, error_code& ec) override {
    return on_body_impl(body, ec);
  }
  void on_finish_impl(error_code&) override {}

  std::size_t header_left_;
};

HttpRejection rejection_for(const error_code& ec) {
  if (ec == http::error::header_limit) return {431, "the request header is too large"};
  if (ec == http::error::body_limit) return {413, "the request body is too large"};
  return {400, "bad request: " + ec.message()};
}

}  // namespace

struct RequestReader::Impl {
  Impl(std::size_t header, std::size_t body) : header_bytes(header), body_bytes(body) { renew(); }

  void renew() {
    parser.emplace(header_bytes, body_bytes);
    blank_lines = 0;
    wait_for = 0;
  }

  std::size_t skip_blank_lines(std::string_view bytes) {
    std::size_t taken = 0;
    while (bytes.substr(taken).starts_with("\r\n")) {
      taken += 2;
      if (++blank_lines > max_blank_lines)
        rejection = HttpRejection{400, "bad request: blank lines before the request line"};
    }
    return taken;
  }

  std::size_t header_bytes;
  std::size_t body_bytes;
  std::optional<RequestParser> parser;
  std::optional<HttpRejection> rejection;
  std::size_t blank_lines = 0;
  std::size_t wait_for = 0;  // bytes without which the parser must not be called
};

RequestReader::RequestReader(std::size_t header_bytes, std::size_t body_bytes)
    : impl_(std::make_unique<Impl>(header_bytes, body_bytes)) {}
RequestReader::~RequestReader() = default;

std::size_t RequestReader::feed(std::string_view bytes) {
  RequestParser& parser = *impl_->parser;
  std::size_t taken = parser.got_some() ? 0 : impl_->skip_blank_lines(bytes);
  while (!impl_->rejection && !parser.is_done() && taken < bytes.size()) {
    const auto rest = bytes.substr(taken);
    if (!parser.got_some() && rest == "\r") break;  // half a blank line
    if (rest.size() < impl_->wait_for) break;
    impl_->wait_for = 0;
    error_code ec;
    const std::size_t used = parser.put({rest.data(), rest.size()}, ec);
    taken += used;
    if (ec == http::error::need_more) {
      // What was handed over and what still waits count together.
      const std::size_t allowed = parser.head_complete ? impl_->header_bytes : parser.header_left();
      if (parser.head_complete && rest.size() > used) impl_->wait_for = shortest_chunk_end;
      if (rest.size() - used <= allowed) break;
      ec = parser.head_complete ? http::error::bad_chunk : http::error::header_limit;
    }
    if (ec) impl_->rejection = parser.rejection ? *parser.rejection : rejection_for(ec);
    if (used == 0) break;
  }
  return taken;
}

bool RequestReader::started() const { return impl_->parser->got_some(); }
bool RequestReader::head_done() const { return impl_->parser->head_complete; }
bool RequestReader::done() const { return !impl_->rejection && impl_->parser->is_done(); }
const std::optional<HttpRejection>& RequestReader::rejection() const { return impl_->rejection; }
bool RequestReader::wants_continue() const { return impl_->parser->wants_continue; }
bool RequestReader::keep_alive() const { return impl_->parser->head_complete && impl_->parser->keep_alive(); }
bool RequestReader::http11() const { return impl_->parser->http11; }

HttpRequest RequestReader::take() {
  HttpRequest request = std::move(impl_->parser->request);
  impl_->renew();
  return request;
}

}  // namespace talaria
