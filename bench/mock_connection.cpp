#include "mock_connection.h"

#include <fmt/format.h>
#include <strings.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>

namespace talaria::bench {
namespace {

constexpr std::size_t kMaxRequest = 64 * 1024 * 1024;

// Value of a header field in `head`; names compare without case.
std::string_view header(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos; at = head.find("\r\n", at)) {
    at += 2;
    const std::string_view line = head.substr(at, head.find("\r\n", at) - at);
    if (line.size() > name.size() && line[name.size()] == ':' &&
        strncasecmp(line.data(), name.data(), name.size()) == 0) {
      const auto value = line.find_first_not_of(" \t", name.size() + 1);
      return value == std::string_view::npos ? std::string_view() : line.substr(value);
    }
  }
  return {};
}

}  // namespace

MockConnection::MockConnection(UniqueFd fd, SslPtr ssl, ScriptBook& book, MockStats& stats)
    : fd_(std::move(fd)), ssl_(std::move(ssl)), handshaken_(ssl_ == nullptr), book_(book), stats_(stats) {
  ++stats_.connections;
  ++stats_.open;
}

MockConnection::~MockConnection() { --stats_.open; }

MockConnection::Io MockConnection::read_some() {
  char buffer[16 * 1024];
  ssize_t n = 0;
  if (ssl_) {
    n = SSL_read(ssl_.get(), buffer, sizeof buffer);
    if (n <= 0) {
      const int why = SSL_get_error(ssl_.get(), static_cast<int>(n));
      return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? Io::again : Io::closed;
    }
  } else {
    n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return Io::again;
    if (n <= 0) return Io::closed;
  }
  in_.append(buffer, static_cast<std::size_t>(n));
  if (in_.size() > kMaxRequest) return Io::closed;
  // A short read of a plain socket means that there is no more: one system call saved on every request.
  return !ssl_ && static_cast<std::size_t>(n) < sizeof buffer ? Io::again : Io::done;
}

MockConnection::Io MockConnection::write_some() {
  while (!out_.empty()) {
    ssize_t n = 0;
    if (ssl_) {
      n = SSL_write(ssl_.get(), out_.data(), static_cast<int>(std::min<std::size_t>(out_.size(), 1 << 20)));
      if (n <= 0) {
        const int why = SSL_get_error(ssl_.get(), static_cast<int>(n));
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? Io::again : Io::closed;
      }
    } else {
      n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return Io::again;
      if (n < 0) return Io::closed;
    }
    out_.remove_prefix(static_cast<std::size_t>(n));
  }
  return Io::done;
}

bool MockConnection::handshake(Io& state) {
  const int n = SSL_accept(ssl_.get());
  if (n == 1) {
    handshaken_ = true;
    state = Io::done;
    return true;
  }
  const int why = SSL_get_error(ssl_.get(), n);
  wants_write_ = why == SSL_ERROR_WANT_WRITE;
  state = Io::again;
  return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

bool MockConnection::on_ready() {
  if (!handshaken_) {
    Io state = Io::again;
    if (!handshake(state)) return false;
    if (state == Io::again) return true;
  }
  for (Io got = Io::done; got == Io::done;) {
    got = read_some();
    if (got == Io::closed) return false;  // also a half-closed client: it wants nothing more from us
  }
  return progress();
}

bool MockConnection::on_timer() {
  due_.reset();
  const Step& step = script_.steps[step_];
  out_ = step.bytes;
  if (++repeated_ >= step.repeat) {
    ++step_;
    repeated_ = 0;
  }
  return progress();
}

// Sends what there is, then the script's next step, then the next request's answer, until something must be waited for.
bool MockConnection::progress() {
  for (;;) {
    if (!out_.empty()) {
      const Io sent = write_some();
      if (sent == Io::closed) return false;
      wants_write_ = sent == Io::again;
      if (wants_write_) return true;
    }
    if (due_ || mute_) return true;
    if (playing_) {
      if (step_ < script_.steps.size()) {
        next_step();
        continue;
      }
      playing_ = false;
      if (script_.end == ScriptEnd::close) return false;
      if (script_.end == ScriptEnd::hang) mute_ = true;
      continue;
    }
    if (!take_request()) return true;
  }
}

// The out_ view points into script_.steps, which stay until the script's end.
void MockConnection::next_step() {
  const Step& step = script_.steps[step_];
  if (step.delay_ms > 0) {
    due_ = Clock::now() + std::chrono::milliseconds(step.delay_ms);
    return;
  }
  out_ = step.bytes;
  if (++repeated_ >= step.repeat) {
    ++step_;
    repeated_ = 0;
  }
}

bool MockConnection::take_request() {
  const auto head_end = in_.find("\r\n\r\n");
  if (head_end == std::string::npos) return false;
  const std::string_view head(in_.data(), head_end + 2);
  const std::string_view length_text = header(head, "Content-Length");
  std::size_t length = 0;
  std::from_chars(length_text.data(), length_text.data() + length_text.size(), length);
  const std::size_t total = head_end + 4 + length;
  if (in_.size() < total) return false;
  const auto blank = head.find(' ');
  const auto blank2 = head.find(' ', blank + 1);
  if (blank2 == std::string_view::npos || !header(head, "Transfer-Encoding").empty()) {
    own_ = http_response("411 Length Required", "text/plain", "the mock wants a Content-Length\n");
    out_ = own_;
  } else {
    answer(head.substr(0, blank), head.substr(blank + 1, blank2 - blank - 1),
           std::string_view(in_).substr(head_end + 4, length));
  }
  in_.erase(0, total);
  return true;
}

void MockConnection::answer(std::string_view method, std::string_view target, std::string_view body) {
  if (method == "POST" && target.ends_with("/chat/completions")) {
    ++stats_.requests;
    if (const std::string* usual = book_.usual(body)) {
      out_ = *usual;
      return;
    }
    script_ = book_.build(body);
    step_ = 0;
    repeated_ = 0;
    playing_ = true;
    return;
  }
  if (method == "GET" && target.ends_with("/models")) {
    out_ = book_.models();
    return;
  }
  own_ = target == "/stats" ? http_response("200 OK", "application/json",
                                            fmt::format("{{\"connections\":{},\"open\":{},\"requests\":{}}}\n",
                                                        stats_.connections, stats_.open, stats_.requests))
                            : ScriptBook::not_found();
  out_ = own_;
}

}  // namespace talaria::bench
