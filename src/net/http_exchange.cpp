#include "net/http_exchange.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <cerrno>
#include <charconv>
#include <stdexcept>

#include "net/http_wire.h"

namespace talaria {

// The watch outlives the exchange by one turn of the loop (a cancelled wait still completes), hence a block of its own.
struct HttpServerExchange::GoneWatch {
  explicit GoneWatch(HttpConnection& c) : connection(&c), event(c.core().executor) {}
  HttpConnection* connection;  // null: the exchange is over
  Event event;
  asio::cancellation_signal cancel;
};

HttpServerExchange::HttpServerExchange(HttpConnection& connection, std::string_view method, bool http11,
                                       bool keep_alive)
    : connection_(connection), head_only_(method == "HEAD"), http11_(http11), keep_alive_(keep_alive) {
  ++connection_.core().exchanges;
}

HttpServerExchange::~HttpServerExchange() {
  --connection_.core().exchanges;
  if (!gone_) return;
  gone_->connection = nullptr;
  gone_->cancel.emit(asio::cancellation_type::all);
}

namespace {

void append_number(std::string& out, std::size_t number, int base = 10) {
  std::array<char, 24> digits;
  const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  out.append(digits.data(), result.ptr);
}

bool may_have_body(int status) { return status >= 200 && status != 204 && status != 304; }

}  // namespace

// Writes the head into the connection's buffer. `length`: of the body; none: it is streamed.
void HttpServerExchange::put_head(const HttpResponse& response, std::optional<std::size_t> length) {
  if (response.status < 200 || response.status > 599) {
    throw std::logic_error(fmt::format("{} is not the status of a final answer", response.status));
  }
  for (const auto& [name, value] : response.headers.all()) {
    if (!is_safe_field(name, value))
      throw std::logic_error(fmt::format("header {} can't be sent: bad characters", name));
  }
  if (response.headers.get("Connection") == "close" || connection_.closing()) keep_alive_ = false;
  chunked_ = !length && http11_ && may_have_body(response.status) && !head_only_;
  // Without chunks the end of the connection is the end of the body.
  if (!length && !http11_) keep_alive_ = false;

  std::string& out = connection_.head_;
  out.assign("HTTP/1.1 ");
  append_number(out, static_cast<std::size_t>(response.status));
  out.append(" ")
      .append(reason_phrase(response.status))
      .append("\r\nDate: ")
      .append(connection_.core().date.now())
      .append("\r\n");
  for (const auto& [name, value] : response.headers.all()) {
    if (is_framing_field(name)) continue;
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (may_have_body(response.status)) {
    if (length) {
      out.append("Content-Length: ");
      append_number(out, *length);
      out.append("\r\n");
    } else if (http11_) {
      out.append("Transfer-Encoding: chunked\r\n");
    }
  }
  if (!keep_alive_) {
    out.append("Connection: close\r\n");
  } else if (!http11_) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
}

Task<bool> HttpServerExchange::deliver(std::span<iovec> parts) {
  const bool ok = co_await connection_.write_all(parts);
  if (!ok && gone_) gone_->event.set();
  co_return ok;
}

Task<bool> HttpServerExchange::send(HttpResponse response) {
  if (state_ != State::untouched) throw std::logic_error("a second answer to one request");
  put_head(response, response.body.size());
  state_ = State::complete;
  const bool body = !head_only_ && may_have_body(response.status);
  std::array parts{to_iovec(connection_.head_), to_iovec(body ? std::string_view(response.body) : std::string_view())};
  co_return co_await deliver(parts);
}

Task<bool> HttpServerExchange::begin(HttpResponse head) {
  if (state_ != State::untouched) throw std::logic_error("a second answer to one request");
  put_head(head, std::nullopt);
  state_ = State::streaming;
  std::array parts{to_iovec(connection_.head_)};
  co_return co_await deliver(parts);
}

Task<bool> HttpServerExchange::write(std::string_view data) {
  if (state_ != State::streaming) throw std::logic_error("write() without begin()");
  if (connection_.broken()) co_return false;
  // An empty chunk would be the last one.
  if (data.empty() || head_only_) co_return true;
  std::string& size = connection_.head_;
  size.clear();
  if (chunked_) {
    append_number(size, data.size(), 16);
    size.append("\r\n");
  }
  std::array parts{to_iovec(size), to_iovec(data), to_iovec(chunked_ ? "\r\n" : "")};
  co_return co_await deliver(parts);
}

Task<bool> HttpServerExchange::end() {
  if (state_ != State::streaming) throw std::logic_error("end() without begin()");
  state_ = State::complete;
  if (connection_.broken()) co_return false;
  if (!chunked_) co_return true;
  std::array parts{to_iovec("0\r\n\r\n")};
  co_return co_await deliver(parts);
}

bool HttpServerExchange::keep_alive() const {
  return complete() && keep_alive_ && !connection_.broken() && !connection_.closing();
}

Event& HttpServerExchange::client_gone() {
  if (!gone_) {
    gone_ = std::make_shared<GoneWatch>(connection_);
    if (connection_.broken()) {
      gone_->event.set();
    } else {
      watch(gone_);
    }
  }
  return gone_->event;
}

void HttpServerExchange::watch(std::shared_ptr<GoneWatch> gone) {
  auto& socket = gone->connection->socket();
  const auto slot = gone->cancel.slot();
  socket.async_wait(asio::socket_base::wait_read, asio::bind_cancellation_slot(slot, [gone](const error_code& ec) {
                      if (gone->connection == nullptr) return;
                      if (ec) {
                        // The connection was cut under us (write_time); a cancelled handler unwinds by itself.
                        if (gone->connection->broken()) gone->event.set();
                        return;
                      }
                      char byte;
                      const auto got =
                          ::recv(gone->connection->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
                      if (got > 0) return;  // the next request, early: from here on nothing can be told
                      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return watch(gone);
                      gone->event.set();
                    }));
}

}  // namespace talaria
