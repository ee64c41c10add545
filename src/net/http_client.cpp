#include "net/http_client.h"

#include <fmt/format.h>

#include <array>
#include <boost/beast/core/flat_buffer.hpp>
#include <list>
#include <map>

#include "net/http_wire.h"
#include "net/response_reader.h"
#include "net/transport.h"
#include "net/watchdog.h"

namespace talaria {

namespace {

constexpr std::size_t receive_size = 8 * 1024;
constexpr std::size_t join_limit = 64 * 1024;  // head and body up to this size leave in one write

using Outcome = std::expected<HttpResponse, HttpFailure>;

std::string name_of(const HttpOrigin& origin) {
  if (!origin.unix_path.empty()) return "unix:" + origin.unix_path;
  const bool v6 = origin.host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", origin.tls ? "https" : "http", v6 ? "[" : "", origin.host, v6 ? "]" : "",
                     origin.port);
}

std::string host_field(const HttpOrigin& origin) {
  if (origin.host.empty()) return "localhost";
  std::string host = origin.host.find(':') == std::string::npos ? origin.host : "[" + origin.host + "]";
  if (origin.unix_path.empty() && origin.port != (origin.tls ? 443 : 80)) host += fmt::format(":{}", origin.port);
  return host;
}

// The head as it goes out; `invalid` for whatever could be read as a second request.
Result<std::string> serialize_head(const HttpOrigin& origin, const HttpRequest& request) {
  if (!is_token(request.method) || request.method == "CONNECT") {
    return fail(ErrorKind::invalid, fmt::format("\"{}\" is no method to send", request.method));
  }
  if (!is_safe_target(request.target) || (request.target.front() != '/' && request.target != "*")) {
    return fail(ErrorKind::invalid, "the target of the request is no path, or has blanks or control characters in it");
  }
  std::string out = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
  if (!request.headers.has("Host")) {
    const auto host = host_field(origin);
    if (!is_safe_target(host)) return fail(ErrorKind::invalid, "the host name has blanks or control characters in it");
    out.append("Host: ").append(host).append("\r\n");
  }
  if (!request.headers.has("User-Agent")) out.append("User-Agent: talaria/" TALARIA_VERSION "\r\n");
  for (const auto& [name, value] : request.headers.all()) {
    // The value may be a secret: only the name is told.
    if (!is_safe_field(name, value)) {
      return fail(ErrorKind::invalid,
                  fmt::format("header \"{}\" has a line break or another character that is not allowed",
                              is_token(name) ? name : "?"));
    }
    if (is_framing_field(name) && !equals_ignoring_case(name, "Connection")) continue;
    out.append(name).append(": ").append(value).append("\r\n");
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH") {
    out.append(fmt::format("Content-Length: {}\r\n", request.body.size()));
  }
  out.append("\r\n");
  return out;
}

}  // namespace

struct HttpClient::Impl : std::enable_shared_from_this<HttpClient::Impl> {
  struct Idle {
    Idle(std::unique_ptr<Transport> t, Watchdog& dog, std::function<void()> on_expiry)
        : transport(std::move(t)), watch(dog, std::move(on_expiry)) {}
    std::unique_ptr<Transport> transport;
    Watchdog::Watch watch;
  };
  struct Attempt {
    Outcome outcome;
    bool stale = false;  // a kept connection turned out closed before a byte of the answer came
  };

  Impl(asio::any_io_executor ex, HttpClientOptions o) : executor(std::move(ex)), options(std::move(o)), dog(executor) {}

  std::unique_ptr<Transport> take_idle(const HttpOrigin& origin) {
    const auto found = idle.find(origin);
    if (found == idle.end()) return nullptr;
    std::unique_ptr<Transport> transport;
    while (!transport && !found->second.empty()) {
      transport = std::move(found->second.back().transport);
      found->second.pop_back();
      if (!transport->is_quiet()) transport.reset();
    }
    if (found->second.empty()) idle.erase(found);
    return transport;
  }

  void keep(const HttpOrigin& origin, std::unique_ptr<Transport> transport) {
    if (options.idle_per_origin == 0 || closed) return;
    auto& kept = idle[origin];
    if (kept.size() >= options.idle_per_origin) kept.pop_front();
    kept.emplace_back(std::move(transport), dog, std::function<void()>());
    const auto place = std::prev(kept.end());
    // The watch dies with its entry, so `place` is valid whenever this runs.
    place->watch.on_expiry([this, origin, place] {
      const auto found = idle.find(origin);
      found->second.erase(place);
      if (found->second.empty()) idle.erase(found);
    });
    place->watch.arm(SteadyClock::now() + options.idle_time);
  }

  Result<std::shared_ptr<TlsContext>> tls_context() {
    if (!tls) {
      auto made = TlsContext::make(options.ca_file);
      if (!made) return made;
      tls = std::move(*made);
    }
    return tls;
  }

  Task<Result<std::unique_ptr<Transport>>> connect(HttpOrigin origin, Deadline deadline) {
    auto transport = std::make_unique<Transport>(executor, dog);
    if (!origin.unix_path.empty()) {
      auto connected = co_await transport->connect_unix(origin.unix_path, deadline);
      if (!connected) co_return std::unexpected(connected.error());
      co_return transport;
    }
    auto connected = co_await transport->connect_tcp(origin.host, origin.port, deadline);
    if (!connected) co_return std::unexpected(connected.error());
    if (origin.tls) {
      auto context = tls_context();
      if (!context) co_return std::unexpected(context.error());
      auto secure = co_await transport->start_tls(std::move(*context), origin.host, "http/1.1", deadline);
      if (!secure) co_return std::unexpected(secure.error());
    }
    co_return transport;
  }

  // One request on one connection. Keeps the connection if it can be used again.
  Task<Attempt> converse(const HttpOrigin& origin, std::unique_ptr<Transport> transport, const std::string& head,
                         const HttpRequest& request, Deadline deadline, ResponseReader& reader) {
    const auto failed = [&](const Error& error, bool lost_early) {
      // Those that are kept to the same server have perhaps been forgotten on the way, too.
      if (error.kind == ErrorKind::timeout && !reader.answered()) idle.erase(origin);
      const std::string_view why = error.kind != ErrorKind::timeout ? std::string_view(error.what)
                                   : reader.answered()              ? "the answer did not end in time"
                                                                    : "no answer in time";
      Attempt attempt{std::unexpected(
          HttpFailure{{error.kind, fmt::format("request to {}: {}", name_of(origin), why)}, true, reader.answered()})};
      attempt.stale = lost_early;
      return attempt;
    };
    Result<> written;
    if (head.size() + request.body.size() <= join_limit) {
      written = co_await transport->write_all(head + request.body, deadline);
    } else {
      written = co_await transport->write_all(head, deadline);
      if (written) written = co_await transport->write_all(request.body, deadline);
    }
    if (!written && written.error().kind != ErrorKind::unavailable) co_return failed(written.error(), false);
    // A server may refuse a large body by answering and closing while we still write: what it said counts more than our
    // failure.
    boost::beast::flat_buffer buffer;
    bool silent = true;
    while (!reader.done() && !reader.stopped()) {
      const auto room = buffer.prepare(receive_size);
      const auto count = co_await transport->read_some({static_cast<char*>(room.data()), room.size()}, deadline);
      if (!count || *count == 0) {
        if (count) {
          if (auto end = reader.feed_end(); end) break;
        }
        if (silent && !written) co_return failed(written.error(), true);
        if (count) co_return failed({ErrorKind::unavailable, reader.feed_end().error().what}, silent);
        co_return failed(count.error(), silent && count.error().kind == ErrorKind::unavailable);
      }
      silent = false;
      buffer.commit(*count);
      const auto data = buffer.data();
      const auto taken = reader.feed({static_cast<const char*>(data.data()), data.size()});
      if (!taken) co_return failed(taken.error(), false);
      buffer.consume(*taken);
    }
    const bool reusable = written && reader.keep_alive() && !reader.stopped() && buffer.size() == 0;
    Attempt attempt{reader.take()};
    if (reusable && !equals_ignoring_case(request.headers.get("Connection"), "close"))
      keep(origin, std::move(transport));
    co_return attempt;
  }

  Task<Outcome> run(HttpOrigin origin, HttpRequest request, Deadline deadline, ResponseReaderSetup setup) {
    setup.header_bytes = options.header_bytes;
    setup.body_bytes = options.body_bytes;
    setup.head_only = request.method == "HEAD";
    const auto head = serialize_head(origin, request);
    if (!head) co_return std::unexpected(HttpFailure{head.error()});
    auto transport = take_idle(origin);
    if (transport) {
      ResponseReader reader(setup);
      Attempt attempt = co_await converse(origin, std::move(transport), *head, request, deadline, reader);
      if (!attempt.stale || !options.replays) co_return std::move(attempt.outcome);
    }
    auto fresh = co_await connect(origin, deadline.earlier(Deadline::in(options.connect_time)));
    if (!fresh) {
      co_return std::unexpected(
          HttpFailure{{fresh.error().kind, fmt::format("connect to {}: {}", name_of(origin), fresh.error().what)}});
    }
    ResponseReader reader(setup);
    Attempt attempt = co_await converse(origin, std::move(*fresh), *head, request, deadline, reader);
    co_return std::move(attempt.outcome);
  }

  asio::any_io_executor executor;
  HttpClientOptions options;
  Watchdog dog;
  std::shared_ptr<TlsContext> tls;
  std::map<HttpOrigin, std::list<Idle>> idle;
  bool closed = false;
};

HttpClient::HttpClient(asio::any_io_executor executor, HttpClientOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options))) {}

HttpClient::~HttpClient() {
  impl_->closed = true;
  impl_->idle.clear();
}

Task<std::expected<HttpResponse, HttpFailure>> HttpClient::request(HttpOrigin origin, HttpRequest request,
                                                                   Deadline deadline) {
  const auto impl =
      impl_;  // a request may outlive the client's owner by the turn of the loop that its cancellation takes
  std::string body;
  ResponseReaderSetup setup{};
  setup.on_data = [&body](std::string_view piece) {
    body.append(piece);
    return true;
  };
  auto outcome = co_await impl->run(std::move(origin), std::move(request), deadline, std::move(setup));
  if (outcome) outcome->body = std::move(body);
  co_return outcome;
}

Task<std::expected<HttpResponse, HttpFailure>> HttpClient::stream(HttpOrigin origin, HttpRequest request,
                                                                  Deadline deadline, OnHead on_head, OnData on_data) {
  const auto impl = impl_;
  ResponseReaderSetup setup{};
  setup.on_head = std::move(on_head);
  setup.on_data = std::move(on_data);
  co_return co_await impl->run(std::move(origin), std::move(request), deadline, std::move(setup));
}

}  // namespace talaria
