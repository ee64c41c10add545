#include "net/response_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>
#include <optional>

#include "net/beast_parser.h"
#include "net/http_wire.h"

namespace talaria {

namespace {

namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t max_response_fields = 256;
constexpr int max_interim = 16;

class ResponseParser final : public http::basic_parser<false> {
 public:
  explicit ResponseParser(const ResponseReaderSetup& setup) : setup_(setup), header_left_(setup.header_bytes) {
    header_limit(static_cast<std::uint32_t>(
        std::min<std::size_t>(setup.header_bytes, std::numeric_limits<std::uint32_t>::max())));
    body_limit(setup.body_bytes);
    eager(true);
    skip(setup.head_only);
  }

  HttpResponse response;
  bool answered = false;
  bool head_complete = false;
  bool stopped = false;
  const char* complaint = nullptr;
  [[nodiscard]] std::size_t header_left() const { return header_left_; }
  [[nodiscard]] bool interim() const { return response.status < 200; }

 private:
  void count_header(std::size_t bytes, error_code& ec) {
    if (bytes > header_left_) {
      ec = http::error::header_limit;
    } else {
      header_left_ -= bytes;
    }
  }
  void stop_unless(bool go_on, error_code& ec) {
    if (go_on) return;
    stopped = true;
    ec = http::error::end_of_stream;
  }

  void on_request_impl(http::verb, BeastView, BeastView, int, error_code&) override {}
  void on_response_impl(int code, BeastView reason, int, error_code& ec) override {
    response.status = code;
    if (code < 100 || code == 101) {  // we never ask for another protocol
      complaint = "unexpected status";
      ec = http::error::bad_status;
      return;
    }
    answered = code >= 200;
    count_header(reason.size() + 15, ec);
  }
  void on_field_impl(http::field, BeastView name, BeastView value, error_code& ec) override {
    if (head_complete) return;  // a trailer
    count_header(name.size() + value.size() + 4, ec);
    if (response.headers.all().size() >= max_response_fields) ec = http::error::header_limit;
    if (!ec) response.headers.add(std::string(view(name)), std::string(view(value)));
  }
  void on_header_impl(error_code& ec) override {
    head_complete = true;
    if (interim()) return;
    if (response.headers.has("Transfer-Encoding") &&
        !equals_ignoring_case(response.headers.get("Transfer-Encoding"), "chunked")) {
      complaint = "a transfer coding that was not asked for";
      ec = http::error::bad_transfer_encoding;
      return;
    }
    if (setup_.on_head) stop_unless(setup_.on_head(response), ec);
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(BeastView body, error_code& ec) override {
    if (setup_.on_data && !body.empty()) stop_unless(setup_.on_data(view(body)), ec);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t, BeastView, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, BeastView body, error_code& ec) override {
    return on_body_impl(body, ec);
  }
  void on_finish_impl(error_code&) override {}

  const ResponseReaderSetup& setup_;
  std::size_t header_left_;
};

}  // namespace

struct ResponseReader::Impl {
  explicit Impl(ResponseReaderSetup s) : setup(std::move(s)) { parser.emplace(setup); }

  [[nodiscard]] std::unexpected<Error> error(const error_code& ec) const {
    if (ec == http::error::header_limit) {
      return fail(ErrorKind::limit,
                  fmt::format("the header of the answer is larger than {} bytes", setup.header_bytes));
    }
    if (ec == http::error::body_limit) {
      return fail(ErrorKind::limit, fmt::format("the body of the answer is larger than {} bytes", setup.body_bytes));
    }
    return fail(ErrorKind::invalid,
                fmt::format("the answer is not valid HTTP: {}", parser->complaint ? parser->complaint : ec.message()));
  }

  ResponseReaderSetup setup;
  std::optional<ResponseParser> parser;
  int interim = 0;
  std::size_t wait_for = 0;  // bytes without which the parser must not be called
};

ResponseReader::ResponseReader(ResponseReaderSetup setup) : impl_(std::make_unique<Impl>(std::move(setup))) {}
ResponseReader::~ResponseReader() = default;

Result<std::size_t> ResponseReader::feed(std::string_view bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size() && !impl_->parser->is_done() && !stopped()) {
    ResponseParser& parser = *impl_->parser;
    const auto rest = bytes.substr(taken);
    if (rest.size() < impl_->wait_for) break;
    impl_->wait_for = 0;
    error_code ec;
    const std::size_t used = parser.put({rest.data(), rest.size()}, ec);
    taken += used;
    if (parser.stopped) return taken;
    if (ec == http::error::need_more) {
      if (parser.head_complete && rest.size() > used) impl_->wait_for = shortest_chunk_end;
      const std::size_t allowed = parser.head_complete ? impl_->setup.header_bytes : parser.header_left();
      if (rest.size() - used <= allowed) return taken;
      ec = parser.head_complete ? http::error::bad_chunk : http::error::header_limit;
    }
    if (ec) return impl_->error(ec);
    if (parser.is_done() && parser.interim()) {
      if (++impl_->interim > max_interim)
        return fail(ErrorKind::invalid, "the answer is not valid HTTP: interim answers without end");
      impl_->parser.emplace(impl_->setup);
    } else if (used == 0) {
      break;
    }
  }
  return taken;
}

Result<> ResponseReader::feed_end() {
  ResponseParser& parser = *impl_->parser;
  error_code ec = http::error::partial_message;
  if (parser.got_some()) parser.put_eof(ec);
  if (!ec) return {};
  return fail(ErrorKind::unavailable, parser.answered ? "the connection was cut in the middle of the answer"
                                                      : "the connection was closed before an answer came");
}

bool ResponseReader::answered() const { return impl_->parser->answered; }
bool ResponseReader::done() const { return impl_->parser->is_done() && !impl_->parser->interim(); }
bool ResponseReader::stopped() const { return impl_->parser->stopped; }
bool ResponseReader::keep_alive() const { return done() && impl_->parser->keep_alive(); }
HttpResponse ResponseReader::take() { return std::move(impl_->parser->response); }

}  // namespace talaria
