#include "net/resolve.h"

#include <fmt/format.h>

#include <atomic>

#include "net/http_wire.h"
#include "runtime/event.h"

namespace talaria {

namespace {

using asio::ip::tcp;

std::atomic<int> in_progress = 0;

struct Lookup {
  explicit Lookup(asio::any_io_executor executor) : resolver(executor), answered(executor) {}
  tcp::resolver resolver;
  Event answered;
  error_code ec;
  std::vector<tcp::endpoint> endpoints;
};

}  // namespace

bool lookups_in_progress() { return in_progress > 0; }

Task<Result<std::vector<tcp::endpoint>>> resolve(std::string host, std::uint16_t port, Deadline deadline) {
  using Endpoints = std::vector<tcp::endpoint>;
  error_code not_numeric;
  const auto address = asio::ip::make_address(host, not_numeric);
  if (!not_numeric) co_return Endpoints{tcp::endpoint(address, port)};
  if (equals_ignoring_case(host, "localhost")) {
    co_return Endpoints{tcp::endpoint(asio::ip::address_v4::loopback(), port),
                        tcp::endpoint(asio::ip::address_v6::loopback(), port)};
  }
  // The lookup is left to itself when we stop waiting for it: Asio tells of it only when getaddrinfo() has returned.
  const auto lookup = std::make_shared<Lookup>(co_await asio::this_coro::executor);
  ++in_progress;
  lookup->resolver.async_resolve(host, fmt::format("{}", port), tcp::resolver::numeric_service,
                                 [lookup](const error_code& ec, const tcp::resolver::results_type& results) {
                                   --in_progress;
                                   lookup->ec = ec;
                                   for (const auto& entry : results) lookup->endpoints.push_back(entry.endpoint());
                                   lookup->answered.set();
                                 });
  if (!co_await lookup->answered.wait(deadline)) {
    lookup->resolver.cancel();
    co_return fail(ErrorKind::timeout, fmt::format("resolve {}: the name servers did not answer in time", host));
  }
  if (lookup->ec || lookup->endpoints.empty()) {
    co_return fail(ErrorKind::unavailable,
                   fmt::format("resolve {}: {}", host, lookup->ec ? lookup->ec.message() : "the name has no address"));
  }
  co_return std::move(lookup->endpoints);
}

}  // namespace talaria
