#pragma once
// The HTTP API: who may ask, and which room answers. Fails closed: no key, no API (R10). Health and metrics need no
// key; they hold no message and no name of a person. /hooks/NAME goes to the channel NAME, which proves each sender
// (channel/hook.h).

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "gateway/gateway.h"
#include "net/http_server.h"

namespace talaria {

// What the daemon tells about itself; called on the event loop.
struct DaemonView {
  std::function<std::string_view()> state;      // starting, running, draining
  std::function<bool()> ready;                  // store open, API listening, not draining
  std::function<boost::json::object()> status;  // the keys of interface.md, `gateway status --json`
};

// Keys compare in a time that depends on the asker's text alone, not on how much of it is right.
class KeyRing {
 public:
  explicit KeyRing(std::vector<std::string> keys) : keys_(std::move(keys)) {}
  [[nodiscard]] bool empty() const { return keys_.empty(); }
  [[nodiscard]] bool accepts(std::string_view key) const;

 private:
  std::vector<std::string> keys_;
};

class ApiRouter {
 public:
  // `gateway` may be null while the daemon starts: then everything but /healthz answers 503.
  ApiRouter(KeyRing keys, DaemonView view, bool loopback_only)
      : keys_(std::move(keys)), view_(std::move(view)), loopback_only_(loopback_only) {}
  void attach(Gateway* gateway) { gateway_ = gateway; }
  // For requests that come from now on.
  void configure(KeyRing keys, bool loopback_only) {
    keys_ = std::move(keys);
    loopback_only_ = loopback_only;
  }

  Task<> handle(HttpRequest request, HttpExchange& exchange);

 private:
  Task<> handle_v1(HttpRequest request, HttpExchange& exchange);
  Task<> handle_hook(HttpRequest request, HttpExchange& exchange);
  void log_refusal(std::string_view name, const HookResponse& answer);

  KeyRing keys_;
  DaemonView view_;
  bool loopback_only_;
  Gateway* gateway_ = nullptr;
  std::uint64_t refusals_ = 0;  // of hooks, since the last line in the log
  SteadyClock::time_point next_refusal_line_{};
};

// Routes of /v1 after the asker is known; the control socket, whose peers are known by user id, shares them.
Task<> route_v1(Gateway& gateway, HttpRequest request, HttpExchange& exchange);

// RFC 9457.
[[nodiscard]] HttpResponse problem(int status, std::string_view title, std::string_view detail = {});
[[nodiscard]] HttpResponse json_response(const boost::json::value& value, int status = 200);

}  // namespace talaria
