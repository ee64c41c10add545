#include "net/http_connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <cerrno>
#include <exception>

#include "net/http_exchange.h"
#include "net/http_wire.h"

namespace talaria {

namespace {

constexpr std::size_t first_buffer = 4 * 1024;          // fits nearly every request head
constexpr std::size_t idle_buffer = 8 * 1024;           // a larger one is given back between requests
constexpr std::size_t body_read = 32 * 1024;            // per read, while a body comes
constexpr std::size_t linger_bytes = 64 * 1024 * 1024;  // thrown away after a rejection, at most
constexpr Millis linger_time{1000};
constexpr Millis newcomer_time{500};  // for the first request of a connection that was accepted just before the end

HttpResponse error_response(const HttpRejection& rejection) {
  HttpResponse response;
  response.status = rejection.status;
  response.headers.add("Content-Type", "application/json");
  response.body = fmt::format(R"({{"error":{{"message":"{}","type":"{}"}}}})", rejection.message,
                              rejection.status < 500 ? "invalid_request_error" : "server_error");
  return response;
}

}  // namespace

// IMF-fixdate (RFC 9110, 5.6.7).
std::string_view HttpDate::now() {
  const std::time_t time = std::time(nullptr);
  if (time != made_at_) {
    constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm t{};
    gmtime_r(&time, &t);
    text_ = fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[static_cast<std::size_t>(t.tm_wday)], t.tm_mday,
                        months[static_cast<std::size_t>(t.tm_mon)], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
    made_at_ = time;
  }
  return text_;
}

HttpConnection::HttpConnection(std::shared_ptr<HttpServerCore> core, UniqueFd fd, HttpPeer peer, bool refused)
    : core_(std::move(core)),
      peer_(std::move(peer)),
      socket_(core_->executor),
      watch_(core_->dog,
             [this] {
               error_code ignored;
               socket_.cancel(ignored);
             }),
      reader_(core_->limits.header_bytes, core_->limits.body_bytes),
      address_(core_->address),
      refused_(refused) {
  error_code ec;
  socket_.assign(asio::generic::stream_protocol(peer_.family, peer_.family == AF_UNIX ? 0 : IPPROTO_TCP), fd.get(), ec);
  if (ec) {
    broken_ = true;
  } else {
    (void)fd.release();
    socket_.non_blocking(true, ec);
  }
  if (refused_) {
    ++core_->refusing;
  } else {
    core_->connections.insert(this);
  }
}

HttpConnection::~HttpConnection() {
  if (refused_) {
    --core_->refusing;
  } else {
    core_->connections.erase(this);
  }
}

bool HttpConnection::newcomer() const { return first_ && SteadyClock::now() < accepted_ + newcomer_time; }

void HttpConnection::close_if_idle() {
  if (!idle_) return;
  error_code ignored;
  socket_.cancel(ignored);
}

void HttpConnection::break_off() {
  broken_ = true;
  error_code ignored;
  // Linger 0: what the peer has not taken is dropped now, not held in the kernel for minutes.
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  socket_.close(ignored);
}

Task<> HttpConnection::serve() {
  bool more = !broken_;
  while (more) {
    switch (co_await read_request()) {
      case Got::closed: co_return;
      case Got::rejected: co_await reject(*reader_.rejection()); co_return;
      case Got::request: break;
    }
    more = co_await exchange();
    if (input_.size() == 0 && input_.capacity() > idle_buffer) input_.shrink_to_fit();
  }
  error_code ignored;
  if (!broken_) socket_.shutdown(asio::socket_base::shutdown_send, ignored);
}

void HttpConnection::take_from_input() {
  const auto bytes = input_.data();
  input_.consume(reader_.feed({static_cast<const char*>(bytes.data()), bytes.size()}));
}

// Nothing of a request was read, so the socket is all there is to the connection.
void HttpConnection::put_aside() {
  error_code ec;
  UniqueFd fd(socket_.release(ec));
  broken_ = true;  // for us
  if (!ec) core_->put_aside.push_back(std::move(fd));
}

Task<HttpConnection::Got> HttpConnection::read_request() {
  const auto begun = SteadyClock::now();
  bool continued = false;
  bool in_time = false;  // the request's own time runs
  idle_ = true;
  while (true) {
    if (input_.size() > 0) take_from_input();
    if (reader_.rejection()) co_return Got::rejected;
    if (reader_.done()) break;
    idle_ = !reader_.started() && input_.size() == 0;
    if (idle_ && closing() && !newcomer()) co_return Got::closed;
    if (idle_ && core_->handing_over) {
      put_aside();
      co_return Got::closed;
    }
    if (reader_.head_done() && reader_.wants_continue() && !continued) {
      continued = true;
      std::array parts{to_iovec("HTTP/1.1 100 Continue\r\n\r\n")};
      if (!co_await write_all(parts)) co_return Got::closed;
      in_time = false;  // the write used the watch
    }
    if (idle_) {
      // A fresh connection that says nothing is no kept one: it gets no longer than a request.
      const Millis fresh = closing() ? newcomer_time : core_->limits.request_time;
      watch_.arm(first_ ? accepted_ + fresh : begun + core_->limits.idle_time);
    } else if (!in_time) {
      watch_.arm(SteadyClock::now() + core_->limits.request_time);
      in_time = true;
    }
    if (co_await fill()) continue;
    // close_if_idle() has woken us: above is decided what that means. Where we are cancelled, the next wait says so.
    if (idle_ && interrupted_ && !watch_.expired() && (core_->handing_over || newcomer())) continue;
    if (!watch_.expired() || idle_) co_return Got::closed;
    co_await reject({408, "the request did not arrive in time"});
    co_return Got::closed;
  }
  watch_.disarm();
  idle_ = false;
  first_ = false;
  co_return Got::request;
}

Task<bool> HttpConnection::fill() {
  if (watch_.expired()) co_return false;
  const std::size_t room = reader_.head_done()
                               ? body_read
                               : std::max(first_buffer - std::min(input_.size(), first_buffer), first_buffer / 2);
  auto [ec, count] = co_await socket_.async_read_some(input_.prepare(room), use_task);
  interrupted_ = ec == asio::error::operation_aborted;
  if (ec) co_return false;
  input_.commit(count);
  co_return true;
}

bool HttpConnection::write_some(std::span<iovec>& parts) {
  while (!parts.empty()) {
    if (parts.front().iov_len == 0) {
      parts = parts.subspan(1);
      continue;
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const auto sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    auto left = static_cast<std::size_t>(sent);
    while (!parts.empty() && left >= parts.front().iov_len) {
      left -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (left > 0) {
      parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + left;
      parts.front().iov_len -= left;
    }
  }
  return true;
}

Task<bool> HttpConnection::write_all(std::span<iovec> parts) {
  std::size_t before = SIZE_MAX;
  while (!broken_) {
    // Straight to the socket: the loop is asked only when the peer does not keep up.
    if (!write_some(parts)) {
      broken_ = true;
      break;
    }
    if (parts.empty()) {
      watch_.disarm();
      co_return true;
    }
    std::size_t left = 0;
    for (const auto& part : parts) left += part.iov_len;
    if (left < before) watch_.arm(SteadyClock::now() + core_->limits.write_time);
    before = left;
    auto [ec] = co_await socket_.async_wait(asio::socket_base::wait_write, use_task);
    if (watch_.expired()) break_off();
    if (ec && ec != asio::error::operation_aborted) broken_ = true;
  }
  watch_.disarm();
  co_return false;
}

Task<bool> HttpConnection::exchange() {
  const bool http11 = reader_.http11();
  const bool keep_alive = reader_.keep_alive();
  HttpRequest request = reader_.take();
  request.peer = peer_.name;
  request.peer_uid = peer_.uid;
  request.peer_pid = peer_.pid;
  HttpServerExchange exchange(*this, request.method, http11, keep_alive);
  const auto cancellation = co_await asio::this_coro::cancellation_state;
  std::string bug;
  try {
    co_await core_->handler(std::move(request), exchange);
    const bool cancelled = cancellation.cancelled() != asio::cancellation_type::none;
    if (!exchange.complete() && !cancelled) bug = "the handler returned without a whole answer";
  } catch (const std::exception& e) {
    if (cancellation.cancelled() != asio::cancellation_type::none) throw;
    bug = fmt::format("the handler threw: {}", e.what());
  } catch (...) {
    bug = "the handler threw something that is no exception";
  }
  if (bug.empty()) co_return exchange.keep_alive();  // false for an answer that cancellation cut short
  core_->report_bug(bug);
  if (exchange.untouched()) {
    HttpResponse response = error_response({500, "internal error"});
    response.headers.add("Connection", "close");
    (void)co_await exchange.send(std::move(response));
  } else if (!exchange.complete()) {
    break_off();  // the client must not take half an answer for a whole one
  }
  co_return false;
}

// Answers what never became a request, and closes so that the answer arrives.
Task<> HttpConnection::reject(HttpRejection rejection) {
  bool sent = false;
  {
    HttpServerExchange exchange(*this, {}, true, false);
    sent = co_await exchange.send(error_response(rejection));
  }
  if (sent) co_await linger();
}

// Closing a socket that holds unread bytes resets the connection, and the reset overtakes the answer (RFC 9112, 9.6).
// So: end our side, throw away what still comes, within bounds.
Task<> HttpConnection::linger() {
  error_code ec;
  socket_.shutdown(asio::socket_base::shutdown_send, ec);
  watch_.arm(SteadyClock::now() + std::min(linger_time, core_->limits.request_time));
  std::size_t total = 0;
  input_.clear();
  while (total < linger_bytes && !watch_.expired()) {
    auto [failed, count] = co_await socket_.async_read_some(input_.prepare(first_buffer), use_task);
    if (failed) break;
    total += count;
  }
  watch_.disarm();
}

Task<> HttpConnection::refuse() {
  if (!broken_) co_await reject({503, "too many connections, try again later"});
}

}  // namespace talaria
