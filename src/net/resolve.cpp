#include "net/resolve.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <map>
#include <system_error>
#include <thread>

#include "net/http_wire.h"
#include "runtime/event.h"

namespace talaria {

namespace {

using asio::ip::tcp;

constexpr std::size_t most_names = 64;    // that are looked up at a time
constexpr std::size_t most_for_name = 4;  // look-ups of one name, of which all but the last were given up

std::atomic<int> in_progress = 0;

struct Lookup {
  explicit Lookup(asio::any_io_executor executor) : answered(std::move(executor)) {}
  Event answered;
  error_code ec;
  std::vector<asio::ip::address> addresses;
  int waiting = 0;
  std::thread thread;
};

// The look-ups of one event loop. Each has a thread of its own, so that a name whose servers are silent holds up no
// other name; who asks for a name that somebody waits for already waits with him.
class Lookups final : public asio::execution_context::service {
 public:
  using key_type = Lookups;
  static asio::execution_context::id id;

  explicit Lookups(asio::execution_context& context) : asio::execution_context::service(context) {}

  // Null: too many.
  std::shared_ptr<Lookup> ask(asio::any_io_executor executor, const std::string& host) {
    auto& of_name = running_[host];
    // One that was given up may hang on though the network is back: better begin anew.
    if (!of_name.empty() && (of_name.back()->waiting > 0 || of_name.size() >= most_for_name)) return of_name.back();
    if (running_.size() > most_names) {
      running_.erase(host);
      return nullptr;
    }
    auto lookup = std::make_shared<Lookup>(executor);
    ++in_progress;
    try {
      lookup->thread = std::thread([this, lookup, host, executor] {
        asio::io_context own;
        const auto results = tcp::resolver(own).resolve(host, "", tcp::resolver::flags(), lookup->ec);
        for (const auto& entry : results) lookup->addresses.push_back(entry.endpoint().address());
        asio::post(executor, [this, lookup, host] { finish(host, lookup); });
        --in_progress;
      });
    } catch (const std::system_error&) {  // no more threads
      --in_progress;
      if (of_name.empty()) running_.erase(host);
      return nullptr;
    }
    of_name.push_back(lookup);
    return lookup;
  }

 private:
  void shutdown() noexcept override {
    for (auto& [host, of_name] : running_) {
      for (const auto& lookup : of_name) lookup->thread.join();
    }
    running_.clear();
  }

  void finish(const std::string& host, const std::shared_ptr<Lookup>& lookup) {
    lookup->thread.join();
    const auto found = running_.find(host);
    std::erase(found->second, lookup);
    if (found->second.empty()) running_.erase(found);
    lookup->answered.set();
  }

  std::map<std::string, std::vector<std::shared_ptr<Lookup>>, std::less<>> running_;
};

asio::execution_context::id Lookups::id;

struct Waiter {
  explicit Waiter(Lookup& l) : lookup(l) { ++lookup.waiting; }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() { --lookup.waiting; }
  Lookup& lookup;
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
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto& lookups = asio::use_service<Lookups>(asio::query(executor, asio::execution::context));
  const auto lookup = lookups.ask(executor, host);
  if (!lookup)
    co_return fail(ErrorKind::unavailable, fmt::format("resolve {}: too many names are being looked up", host));
  const Waiter waiter(*lookup);
  if (!co_await lookup->answered.wait(deadline))
    co_return fail(ErrorKind::timeout, fmt::format("resolve {}: the name servers did not answer in time", host));
  if (lookup->ec || lookup->addresses.empty()) {
    co_return fail(ErrorKind::unavailable,
                   fmt::format("resolve {}: {}", host, lookup->ec ? lookup->ec.message() : "the name has no address"));
  }
  Endpoints endpoints;
  for (const auto& found : lookup->addresses) endpoints.emplace_back(found, port);
  co_return endpoints;
}

}  // namespace talaria
