// bench_load: a closed-loop load generator for chat completions. N connections, each with one request under way; one
// thread, epoll(7), so that it takes little from the two cores it shares with what it measures.
//
// Several targets are measured in turns ("slices") within one run, over connections that stay open: whatever the
// machine does to one target it does to the other, so the difference of their latencies is worth something.
//
//   bench_load --target direct=127.0.0.1:4000 --target gateway=127.0.0.1:8790 [--connections N] [--stream]
//              [--seconds S | --requests R] [--slice-ms MS] [--warmup-ms MS] [--model NAME] [--expect TEXT] [--key-env
//              VAR]
//
// --seconds and --requests are per target. The bearer key comes from the environment variable VAR: arguments can be
// read by every user. Prints one JSON document; exit code 1 when there was any error.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "load_connection.h"

namespace talaria::bench {
namespace {

namespace json = boost::json;
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kAnswerLimit = 30'000 * kMs;  // an answer that takes longer is an error

struct Options {
  std::vector<std::pair<std::string, std::string>> targets;  // name, host:port
  int connections = 1;
  bool stream = false;
  int seconds = 0;
  int requests = 0;
  int slice_ms = 500;
  int warmup_ms = 200;
  std::string model = "default";
  std::string expect;
  std::string key_env;
};

[[noreturn]] void die(std::string_view what) {
  fmt::print(stderr, "bench_load: {}\n", what);
  std::exit(64);
}

int number(std::string_view name, std::string_view value, int low, int high) {
  int n = 0;
  const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (failure != std::errc() || end != value.data() + value.size() || n < low || n > high) {
    die(fmt::format("{}: a number from {} to {}, not '{}'", name, low, high, value));
  }
  return n;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--stream") {
      o.stream = true;
      continue;
    }
    if (i + 1 >= argc) die(fmt::format("{} needs a value", name));
    const std::string_view value = argv[++i];
    if (name == "--target") {
      const auto equals = value.find('=');
      if (equals == std::string_view::npos) die("--target NAME=ADDRESS:PORT");
      o.targets.emplace_back(value.substr(0, equals), value.substr(equals + 1));
    } else if (name == "--connections") {
      o.connections = number(name, value, 1, 10'000);
    } else if (name == "--seconds") {
      o.seconds = number(name, value, 1, 86'400);
    } else if (name == "--requests") {
      o.requests = number(name, value, 1, 100'000'000);
    } else if (name == "--slice-ms") {
      o.slice_ms = number(name, value, 1, 60'000);
    } else if (name == "--warmup-ms") {
      o.warmup_ms = number(name, value, 0, 60'000);
    } else if (name == "--model") {
      o.model = value;
    } else if (name == "--expect") {
      o.expect = value;
    } else if (name == "--key-env") {
      o.key_env = value;
    } else {
      die(fmt::format("unknown option {}", name));
    }
  }
  if (o.targets.empty()) die("no --target");
  if ((o.seconds == 0) == (o.requests == 0)) die("--seconds or --requests");
  return o;
}

Target make_target(const Options& o, const std::string& name, const std::string& where) {
  Target target;
  target.name = name;
  target.stream = o.stream;
  target.expect = o.expect;
  const auto colon = where.rfind(':');
  target.address.sin_family = AF_INET;
  if (colon == std::string::npos ||
      ::inet_pton(AF_INET, where.substr(0, colon).c_str(), &target.address.sin_addr) != 1) {
    die(fmt::format("--target {}: an IPv4 ADDRESS:PORT, not '{}'", name, where));
  }
  target.address.sin_port =
      htons(static_cast<std::uint16_t>(number("port", std::string_view(where).substr(colon + 1), 1, 65'535)));

  std::string authorization;
  if (!o.key_env.empty()) {
    const char* key = std::getenv(o.key_env.c_str());
    if (key == nullptr || *key == '\0') die(fmt::format("--key-env {}: the variable is not set", o.key_env));
    authorization = fmt::format("Authorization: Bearer {}\r\n", key);
  }
  json::object body{{"model", o.model},
                    {"messages", json::array{json::object{{"role", "user"}, {"content", "hello"}}}}};
  if (o.stream) body["stream"] = true;
  const std::string text = json::serialize(body);
  target.request = fmt::format(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\n{}Content-Type: application/json\r\nContent-Length: "
      "{}\r\n\r\n{}",
      where, authorization, text.size(), text);
  return target;
}

// The connections of one target and the epoll set that watches them.
class Lane {
 public:
  Lane(Target& target, int connections) : target_(target), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (int i = 0; i < connections; ++i) connections_.push_back(std::make_unique<LoadConnection>(target_));
  }

  // Keeps every connection busy until the time is over or enough is measured, then waits for what is under way.
  void slice(std::int64_t length_ns, std::size_t enough, bool recording) {
    target_.recording = recording;
    const std::int64_t begin = monotonic_ns();
    const std::int64_t end = begin + length_ns;
    for (auto& connection : connections_) start(*connection);
    epoll_event events[256];
    while (busy_ > 0) {
      const int n = ::epoll_wait(epoll_.get(), events, 256, 1000);
      for (int i = 0; i < n; ++i) {
        auto& connection = *static_cast<LoadConnection*>(events[i].data.ptr);
        const bool was_busy = connection.busy();
        if (!connection.on_readable() || !was_busy) continue;
        --busy_;
        if (monotonic_ns() < end && target_.measured.whole.size() + static_cast<std::size_t>(busy_) < enough)
          start(connection);
      }
      if (n == 0) abandon_late();
    }
    if (recording) target_.measured.busy_ns += monotonic_ns() - begin;
  }

 private:
  void start(LoadConnection& connection) {
    const bool fresh = connection.fd() < 0;
    if (!connection.start()) return;  // counted; the connection is taken up again in the next slice
    if (fresh) {
      epoll_event event{.events = EPOLLIN, .data = {.ptr = &connection}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd(), &event);
    }
    ++busy_;
  }

  void abandon_late() {
    for (auto& connection : connections_) {
      if (!connection->busy() || monotonic_ns() - connection->started_ns() < kAnswerLimit) continue;
      connection->abandon("no answer within 30 s");
      --busy_;
    }
  }

  Target& target_;
  UniqueFd epoll_;
  std::vector<std::unique_ptr<LoadConnection>> connections_;
  int busy_ = 0;
};

// The smallest value that at least `percent` of all values do not exceed ("nearest rank"). Sorted input; null when
// empty.
json::value percentile(const std::vector<std::int64_t>& sorted, int percent) {
  if (sorted.empty()) return nullptr;
  const std::size_t rank = (sorted.size() * static_cast<std::size_t>(percent) + 99) / 100;
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

json::object latencies(std::vector<std::int64_t>& values) {
  std::ranges::sort(values);
  return {{"p50_ns", percentile(values, 50)}, {"p99_ns", percentile(values, 99)}, {"max_ns", percentile(values, 100)}};
}

json::object report(Target& target) {
  Measurements& m = target.measured;
  const double seconds = static_cast<double>(m.busy_ns) / 1e9;
  json::object kinds;
  for (const auto& [kind, count] : m.error_kinds) kinds[kind] = count;
  json::object out{{"requests", m.whole.size()},
                   {"completed", m.completed},
                   {"seconds", seconds},
                   {"per_second", seconds > 0 ? static_cast<double>(m.whole.size()) / seconds : 0.0},
                   {"latency", latencies(m.whole)},
                   {"errors", m.errors},
                   {"error_kinds", kinds}};
  if (target.stream) out["first_text"] = latencies(m.first);
  return out;
}

int run(const Options& o) {
  std::vector<Target> targets;
  for (const auto& [name, where] : o.targets) targets.push_back(make_target(o, name, where));
  std::vector<std::unique_ptr<Lane>> lanes;
  for (Target& target : targets) lanes.push_back(std::make_unique<Lane>(target, o.connections));

  if (o.warmup_ms > 0) {
    for (auto& lane : lanes) lane->slice(o.warmup_ms * kMs, SIZE_MAX, false);
  }
  const std::size_t enough = o.requests > 0 ? static_cast<std::size_t>(o.requests) : SIZE_MAX;
  const std::int64_t limit = o.seconds > 0 ? o.seconds * 1000 * kMs : INT64_MAX;
  for (bool unfinished = true; unfinished;) {
    unfinished = false;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      const Measurements& m = targets[i].measured;
      // A target that does nothing but fail ends here too, instead of trying for ever.
      if (m.busy_ns >= limit || m.whole.size() >= enough || m.errors > 1000 + m.whole.size()) continue;
      lanes[i]->slice(std::min(o.slice_ms * kMs, limit - m.busy_ns), enough, true);
      unfinished = true;
    }
  }

  json::object out{{"connections", o.connections}, {"stream", o.stream}};
  json::object by_name;
  std::uint64_t errors = 0;
  for (Target& target : targets) {
    errors += target.measured.errors;
    by_name[target.name] = report(target);
  }
  out["targets"] = std::move(by_name);
  fmt::print("{}\n", json::serialize(out));
  return errors == 0 ? 0 : 1;
}

}  // namespace
}  // namespace talaria::bench

int main(int argc, char** argv) { return talaria::bench::run(talaria::bench::parse(argc, argv)); }
