#pragma once
// One closed-loop client connection: sends the request, waits for the whole answer, checks it, measures, sends again.

#include <netinet/in.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "response_reader.h"

namespace talaria::bench {

// CLOCK_MONOTONIC in nanoseconds.
[[nodiscard]] std::int64_t monotonic_ns();

// Every latency as it was, in nanoseconds: percentiles are exact.
struct Measurements {
  std::vector<std::int64_t> whole;  // from the first byte sent to the last byte received
  std::vector<std::int64_t> first;  // to the first text of a streamed answer
  std::int64_t busy_ns = 0;         // wall time of the slices
  std::uint64_t completed = 0;      // good answers, those of the warm-up too
  std::uint64_t errors = 0;
  std::map<std::string, std::uint64_t> error_kinds;  // bounded by kMaxErrorKinds
};
inline constexpr std::size_t kMaxErrorKinds = 8;

struct Target {
  std::string name;
  sockaddr_in address{};
  std::string request;  // head and body, ready to send
  bool stream = false;
  std::string expect;  // the text that every answer must have; empty: any
  Measurements measured;
  bool recording = false;
};

class LoadConnection {
 public:
  explicit LoadConnection(Target& target) : target_(target) {}

  // Connects (blocking: loopback) if it is not connected, and sends a request. False: counted as an error; try later.
  bool start();
  // The socket is readable. True: this exchange is over, well or not.
  bool on_readable();
  // Gives up on the exchange: it took too long.
  void abandon(std::string_view why);
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool busy() const { return busy_; }
  [[nodiscard]] std::int64_t started_ns() const { return started_; }

 private:
  void fail(std::string kind);
  void finish(std::int64_t now);

  Target& target_;
  UniqueFd fd_;
  ResponseReader reader_;
  bool busy_ = false;
  std::int64_t started_ = 0;
  std::int64_t first_text_ = 0;
};

}  // namespace talaria::bench
