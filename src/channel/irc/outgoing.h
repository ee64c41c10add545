#pragma once
// What is to be written to the server, in which order and how fast; and what became of it.
//
// IRC acknowledges nothing. But a server works through our lines in order, so a PING sent after the lines of an answer
// is answered when all of them have been processed: its PONG is the receipt. An error numeric about the target that
// comes before it tells why they were not. When the connection breaks in between, the lines may or may not have
// arrived.
//
// Three kinds of lines share the flood limit: urgent ones don't wait (PONG, login, PING), paced ones do (JOIN, MODE …),
// and those of deliveries take turns, one line each, so that a long answer holds up nobody.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/channel.h"
#include "channel/irc/casemap.h"
#include "channel/irc/message.h"
#include "channel/token_bucket.h"
#include "runtime/event.h"

namespace talaria::irc {

using Outcome = std::expected<Receipt, DeliveryError>;

class Delivery {
 public:
  Delivery(asio::any_io_executor executor, std::string to, std::string receipt_token, std::vector<std::string> text)
      : done(std::move(executor)), target(std::move(to)), token(std::move(receipt_token)), lines(std::move(text)) {}

  Event done;  // set with the outcome
  std::optional<Outcome> outcome;

 private:
  friend class Outgoing;
  std::string target;
  std::string token;
  std::vector<std::string> lines;
  std::size_t next = 0;    // the line to write; > 0: bytes may have left
  std::size_t errors = 0;  // numerics about the target
  std::string first_error;
  bool refused = false;              // for good
  SteadyClock::time_point pinged{};  // the receipt's PING was handed to the socket
};

// What decides whether a refusal is for good.
struct Circumstances {
  bool in_channel = false;  // we are in the channel that is the target
  bool settling = false;    // we have only just come: after a restart of the server people are still coming back
};

class Outgoing {
 public:
  using Time = SteadyClock::time_point;
  static constexpr std::size_t kMaxDeliveries = 64;
  static constexpr std::size_t kMaxWaiting = 1000;  // urgent lines, and paced lines

  Outgoing(asio::any_io_executor executor, double lines_per_second, int burst)
      : executor_(std::move(executor)), bucket_(lines_per_second, burst) {}

  void urgent(std::string line) { push(urgent_, std::move(line)); }
  void paced(std::string line) { push(paced_, std::move(line)); }
  // True: more lines wait than a sane server can cause; the connection must end.
  [[nodiscard]] bool overflowed() const { return overflowed_; }

  // Queues the lines of one answer; null: kMaxDeliveries are under way already.
  std::shared_ptr<Delivery> deliver(std::string target, std::string token, std::vector<std::string> lines);
  // Its owner no longer waits; what was not written yet won't be.
  void abandon(const std::shared_ptr<Delivery>& delivery) { std::erase(deliveries_, delivery); }

  // Takes the next bytes to write now, CR LF included. None: nothing may be written before `next_at` (none: nothing
  // waits).
  [[nodiscard]] std::optional<std::string> take(Time now);
  [[nodiscard]] std::optional<Time> next_at(Time now);

  void on_pong(std::string_view token);
  // ERR_NOSUCHNICK and its kin.
  void on_error(const Message& numeric, Circumstances circumstances, CaseMapping mapping);
  // The connection is gone: deliveries that had begun are unknown, others go back; queued lines are forgotten.
  void on_connection_lost(const std::string& why);
  // When the longest-waiting receipt was asked for.
  [[nodiscard]] std::optional<Time> oldest_ping() const;
  [[nodiscard]] std::size_t deliveries() const { return deliveries_.size(); }

 private:
  void push(std::deque<std::string>& queue, std::string line);
  void finish(Delivery& delivery, Outcome outcome);
  std::string take_delivery_line(Time now);
  [[nodiscard]] bool delivery_waits() const;

  asio::any_io_executor executor_;
  TokenBucket bucket_;
  std::deque<std::string> urgent_;
  std::deque<std::string> paced_;
  std::deque<std::shared_ptr<Delivery>> deliveries_;  // the next to write first; finished ones are gone
  bool overflowed_ = false;
};

// What an error numeric says about sending to a target: whether more of it can help. None: it is no such numeric.
[[nodiscard]] std::optional<DeliveryError::Fate> fate_of(std::string_view numeric, Circumstances circumstances);

}  // namespace talaria::irc
