#pragma once
// One life of the program: from its start to its end. Reads its lines and answers them, carries replies to it, and
// notices when it is no use any more. Everything is bounded: when too many of its messages are on their way to the
// journal, or it does not read our answers, nothing more is read from it and its pipe pushes back.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "channel/program/protocol.h"
#include "process/live_child.h"
#include "runtime/event.h"
#include "runtime/task_group.h"

namespace talaria::program {

struct SessionTimes {
  Millis hello{30'000};     // from its start to its hello
  Millis ping{15'000};      // how often we ask
  Millis silence{60'000};   // without a word: it is stuck
  Millis write{30'000};     // without taking a byte of what we say
  Millis delivery{60'000};  // from `deliver` to `receipt` or `failed`
  Millis debt{600'000};     // without either, until it is started again
  Millis patience{1'000};   // after `stop`
  Millis grace{1'500};      // after SIGTERM
};

inline constexpr std::size_t max_in_flight = 64;         // messages on their way to the journal
inline constexpr std::size_t max_deliveries = 256;       // replies that wait for their receipt
inline constexpr std::size_t max_unsaid = 4 * max_line;  // bytes that wait for it to read
inline constexpr int max_rubbish = 20;                   // lines in a row that are none
inline constexpr int max_lines_per_second = 5'000;       // a long one counts for several

// What a session tells its channel.
struct SessionEvents {
  std::function<void(const Hello&)> hello;
  std::function<void(const State&)> state;
  std::function<void()> progress;
  std::function<bool(const Sender&)> allowed;
  std::function<Task<Result<Accepted>>(InboundEvent)> accept;
  std::function<void(bool warning, std::string line)> log;
};

class Session {
 public:
  // `child` is taken over.
  Session(asio::any_io_executor executor, std::unique_ptr<LiveChild> child, std::string channel, SessionEvents events,
          SessionTimes times);

  // Until the program ends or has to be ended; the reason, for people. Afterwards no process of it is left, however it
  // came to that, and every delivery has its fate. On cancellation the program is told to stop.
  Task<std::string> run();

  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply);
  void typing(const Route& route);

 private:
  struct Delivery {
    explicit Delivery(asio::any_io_executor executor) : done(std::move(executor)) {}
    Event done;
    bool told = false;       // some of its line has left us
    bool abandoned = false;  // nobody waits any more
    std::optional<std::expected<Receipt, DeliveryError>> outcome;
  };
  // Deliveries that it was told of and that nobody waits for any more: a `receipt` does not say which one of its reply
  // it means, and they may have been of other text.
  struct Debt {
    int lines = 0;
    SteadyClock::time_point since;
  };
  struct Unsaid {
    std::string line;
    std::shared_ptr<Delivery> delivery;  // null: not one
  };

  Task<> talk();
  Task<> read_lines();
  Task<> read_errors();
  Task<> write_lines();
  Task<> watch();
  Task<> end_of_process();
  Task<> last_words();
  void on_line(std::string_view line);
  void on(Hello hello);
  void on(State state);
  void on(Message message);
  void on(Delivered delivered);
  void on(Failed failed);
  void on(Alive alive);
  void on(Log log);
  void on(Unknown unknown);
  void rubbish(std::string_view line, std::string_view what);
  Task<bool> owes_nothing(std::int64_t outbox_id);
  void settle(std::int64_t outbox_id, std::expected<Receipt, DeliveryError> outcome);
  Task<> journal(InboundEvent event);
  void say(std::string line, std::shared_ptr<Delivery> delivery = nullptr);
  void finish(std::string why);
  [[nodiscard]] bool must_wait() const { return in_flight_ >= max_in_flight || unsaid_bytes_ > max_line; }

  asio::any_io_executor executor_;
  std::unique_ptr<LiveChild> child_;
  std::string channel_;
  SessionEvents events_;
  SessionTimes times_;

  std::optional<std::string> end_;  // why it is over; the first reason counts
  Event ended_;
  bool hello_ = false;
  SteadyClock::time_point last_word_;
  std::uint64_t said_ = 0;   // bytes of its output that were read
  std::uint64_t heard_ = 0;  // … and whose lines were taken
  Event hearing_;            // heard_ has grown
  int rubbish_ = 0;
  std::deque<Unsaid> unsaid_;
  std::size_t unsaid_bytes_ = 0;
  Event to_say_;
  std::size_t in_flight_ = 0;
  Event room_;
  std::map<std::int64_t, std::shared_ptr<Delivery>> deliveries_;
  std::map<std::int64_t, Debt> debts_;  // by outbox id
  Event paid_;
  TaskGroup journalling_;  // last: ends before what it uses
};

}  // namespace talaria::program
