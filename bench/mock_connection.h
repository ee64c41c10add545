#pragma once
// One client of the mock model: reads requests, plays scripts. Non-blocking; the server's loop calls it when the socket
// is ready or a delay is over. Plain or TLS: the difference is two functions.

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "mock_script.h"

namespace talaria::bench {

// Totals, served by GET /stats so that a test can count attempts and open connections.
struct MockStats {
  std::uint64_t connections = 0;  // accepted so far
  std::uint64_t open = 0;
  std::uint64_t requests = 0;  // POST /v1/chat/completions
};

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

class MockConnection {
 public:
  using Clock = std::chrono::steady_clock;

  MockConnection(UniqueFd fd, SslPtr ssl, ScriptBook& book, MockStats& stats);
  ~MockConnection();
  MockConnection(const MockConnection&) = delete;
  MockConnection& operator=(const MockConnection&) = delete;

  // Reads and writes what can be. False: the connection is over.
  [[nodiscard]] bool on_ready();
  // A delay is over.
  [[nodiscard]] bool on_timer();
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] bool wants_write() const { return wants_write_; }
  // When on_timer() is due; nothing: no delay is running.
  [[nodiscard]] std::optional<Clock::time_point> due() const { return due_; }

 private:
  enum class Io { done, again, closed };
  Io read_some();
  Io write_some();
  bool handshake(Io& state);
  bool progress();
  bool take_request();
  void answer(std::string_view method, std::string_view target, std::string_view body);
  void next_step();

  UniqueFd fd_;
  SslPtr ssl_;
  bool handshaken_;
  ScriptBook& book_;
  MockStats& stats_;
  std::string in_;
  std::string own_;       // bytes being sent, when they are ours
  std::string_view out_;  // rest to send; points into own_ or into the book
  Script script_;
  std::size_t step_ = 0;
  int repeated_ = 0;
  bool playing_ = false;  // a script is not at its end
  bool mute_ = false;     // hang: answer nothing more
  bool wants_write_ = false;
  std::optional<Clock::time_point> due_;
};

}  // namespace talaria::bench
