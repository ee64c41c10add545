#include "channel/program/session.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>

#include "base/text.h"
#include "runtime/race.h"

namespace talaria::program {
namespace {

using Fate = DeliveryError::Fate;

constexpr std::size_t shown_line = 200;  // bytes of a line in the log
constexpr int come_again = 5;            // seconds

std::unexpected<DeliveryError> undelivered(Fate fate, std::string what) {
  return std::unexpected(DeliveryError{fate, std::move(what), Millis{0}});
}

std::string shown(std::string_view text) { return printable(truncate_utf8(text, shown_line)); }

// At most so much in a second, and sleeps away the rest of it.
class Pace {
 public:
  explicit Pace(int per_second) : left_(per_second), per_second_(per_second) {}
  Task<> next(int cost = 1) {
    left_ -= cost;
    if (left_ > 0) co_return;
    left_ = per_second_;
    const auto due = std::exchange(began_, SteadyClock::now()) + std::chrono::seconds(1);
    co_await sleep_until(Deadline(due));
    began_ = SteadyClock::now();
  }

 private:
  int left_, per_second_;
  SteadyClock::time_point began_ = SteadyClock::now();
};

}  // namespace

Session::Session(asio::any_io_executor executor, std::unique_ptr<LiveChild> child, std::string channel,
                 SessionEvents events, SessionTimes times)
    : executor_(executor),
      child_(std::move(child)),
      channel_(std::move(channel)),
      events_(std::move(events)),
      times_(times),
      ended_(executor),
      last_word_(SteadyClock::now()),
      hearing_(executor),
      to_say_(executor),
      room_(executor),
      paid_(executor),
      journalling_(executor) {}

// A coroutine thread of its own has cancellation of its own: whoever cancels us waits until no process is left.
Task<std::string> Session::run() {
  co_return co_await asio::co_spawn(
      executor_,
      [](Session& self) -> Task<std::string> {
        bool cancelled = false;
        try {
          co_await self.talk();
          cancelled = (co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none;
        } catch (const boost::system::system_error& e) {
          if (e.code() != asio::error::operation_aborted) throw;
          cancelled = true;
        }
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        self.finish("stopping");
        if (cancelled && self.unsaid_bytes_ == 0) self.child_->write_now(stop_line());
        self.child_->close_input();
        co_await self.journalling_.stop();
        const ChildEnd end = co_await self.child_->end(self.times_.patience, self.times_.grace);
        if (cancelled) throw boost::system::system_error(asio::error::operation_aborted, "channel program");
        if (end.signal != 0) co_return fmt::format("{} (signal {})", *self.end_, end.signal);
        co_return fmt::format("{} (exit {})", *self.end_, end.exit_code);
      }(*this),
      asio::use_awaitable);
}

Task<> Session::talk() {
  say(welcome_line(channel_));
  co_await race(read_lines(), read_errors(), write_lines(), watch(), end_of_process(),
                [](Event& ended) -> Task<> { co_await ended.wait(); }(ended_));
}

// The session is over; what was on its way to the platform has its fate now.
void Session::finish(std::string why) {
  if (end_) return;
  end_ = std::move(why);
  for (const auto& [id, delivery] : std::exchange(deliveries_, {})) {
    if (delivery->outcome) continue;
    delivery->outcome =
        undelivered(delivery->told ? Fate::unknown : Fate::retry, fmt::format("the channel program ended: {}", *end_));
    delivery->done.set();
  }
  ended_.set();
  paid_.set();
}

void Session::say(std::string line, std::shared_ptr<Delivery> delivery) {
  unsaid_bytes_ += line.size();
  unsaid_.push_back({std::move(line), std::move(delivery)});
  to_say_.pulse();
}

Task<> Session::write_lines() {
  for (;;) {
    while (unsaid_.empty()) co_await to_say_.wait();
    Unsaid next = std::move(unsaid_.front());
    unsaid_.pop_front();
    if (next.delivery && next.delivery->abandoned) {
      unsaid_bytes_ -= next.line.size();
      continue;
    }
    if (next.delivery) next.delivery->told = true;
    const auto written = co_await child_->write_all(next.line, Deadline::in(times_.write));
    unsaid_bytes_ -= next.line.size();
    room_.pulse();
    if (written) continue;
    finish(written.error().what);
    co_return;
  }
}

Task<> Session::read_lines() {
  std::string buffer;
  Pace pace(max_lines_per_second);
  for (;;) {
    const std::size_t count = co_await child_->read_some(LiveChild::Stream::out, buffer);
    if (count == 0) {
      co_await last_words();
      finish("it closed its output");
      co_return;
    }
    said_ += count;
    std::size_t at = 0;
    for (std::size_t end; (end = buffer.find('\n', at)) != std::string::npos; at = end + 1) {
      std::string_view line = std::string_view(buffer).substr(at, end - at);
      if (line.ends_with('\r')) line.remove_suffix(1);
      const int cost = 1 + static_cast<int>(line.size() / 2'048);
      on_line(line);
      if (end_) co_return;
      co_await pace.next(cost);
      while (must_wait()) co_await room_.wait();
    }
    heard_ += count;
    hearing_.pulse();
    buffer.erase(0, at);
    if (buffer.size() > max_line) {
      finish(fmt::format("it wrote a line of more than {} bytes", max_line));
      co_return;
    }
  }
}

Task<> Session::read_errors() {
  std::string buffer;
  Pace pace(20);
  for (;;) {
    if (co_await child_->read_some(LiveChild::Stream::err, buffer) == 0) co_await sleep_until(Deadline::never());
    std::size_t at = 0;
    for (std::size_t end; (end = buffer.find('\n', at)) != std::string::npos; at = end + 1) {
      if (end > at) events_.log(false, shown(std::string_view(buffer).substr(at, end - at)));
      co_await pace.next();
    }
    buffer.erase(0, at);
    if (buffer.size() > 4'096) buffer.clear();
  }
}

Task<> Session::watch() {
  const auto hello_due = SteadyClock::now() + times_.hello;
  for (;;) {
    co_await sleep_for(times_.ping);
    // Whoever is cancelled wakes up early: no ping may come between the program and its "stop".
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) co_return;
    const auto now = SteadyClock::now();
    if (must_wait()) last_word_ = now;  // it is we who don't listen
    if (!hello_ && now >= hello_due) finish("it did not say hello");
    if (now - last_word_ >= times_.silence) finish(fmt::format("not a word for {}", format_duration(times_.silence)));
    if (end_) co_return;
    if (hello_ && unsaid_.empty()) say(ping_line());
  }
}

Task<> Session::end_of_process() {
  (void)co_await child_->exited(Deadline::never());
  // What it had written before is read first. That ends: what a child of its own goes on writing does not count.
  const auto all = said_ + child_->unread(LiveChild::Stream::out);
  while (heard_ < all) co_await hearing_.wait();
  co_await last_words();
  finish("it ended");
}

// They may still be on their way to the journal.
Task<> Session::last_words() {
  const Deadline patience = Deadline::in(times_.patience);
  while (in_flight_ > 0 && co_await room_.wait(patience)) {
  }
}

void Session::on_line(std::string_view line) {
  if (line.empty()) return;
  auto parsed = parse_line(line);
  if (!parsed) {
    const LineError& mistake = parsed.error();
    // It would be no better the next time, and until it hears so the program says it again.
    if (hello_ && !mistake.id.empty()) say(refused_line(mistake.id, mistake.conversation, mistake.what));
    return rubbish(line, mistake.garbage ? "" : mistake.what);
  }
  if (!hello_ && !std::holds_alternative<Hello>(*parsed) && !std::holds_alternative<Log>(*parsed))
    return rubbish(line, "hello comes first");
  last_word_ = SteadyClock::now();
  std::visit([this](auto& what) { on(std::move(what)); }, *parsed);
}

// `what`: the mistake in a line that is one of the protocol; empty: it is none.
void Session::rubbish(std::string_view line, std::string_view what) {
  events_.log(true, fmt::format("{}: {}", what.empty() ? "not a line of the protocol" : what, shown(line)));
  say(error_line(what.empty() ? "this is no line of the protocol: one JSON object with a type" : what));
  if (++rubbish_ >= max_rubbish) finish(fmt::format("{} lines in a row that are none of the protocol", max_rubbish));
}

void Session::on(Hello hello) {
  if (std::exchange(hello_, true)) return say(error_line("hello was said already"));
  rubbish_ = 0;
  events_.hello(hello);
}

void Session::on(State state) {
  rubbish_ = 0;
  events_.state(state);
}

void Session::on(Message message) {
  rubbish_ = 0;
  InboundEvent& event = message.event;
  if (!events_.allowed(event.sender)) {
    events_.progress();
    return say(refused_line(event.message_id, event.route.conversation, "the sender is not in allow"));
  }
  ++in_flight_;
  journalling_.spawn("message of a channel program", journal(std::move(event)));
}

Task<> Session::journal(InboundEvent event) {
  struct Leave {
    Session& session;
    ~Leave() {
      --session.in_flight_;
      session.room_.pulse();
    }
  } leave{*this};
  const std::string id = event.message_id;
  const std::string conversation = event.route.conversation;
  const auto accepted = co_await events_.accept(std::move(event));
  if (accepted) {
    events_.progress();
    say(accepted_line(id, conversation, accepted->duplicate));
  } else if (accepted.error().kind == ErrorKind::invalid) {
    say(refused_line(id, conversation, "it can't be stored as it is"));
  } else {
    say(hold_line(id, conversation, come_again));
  }
}

void Session::on(Delivered delivered) {
  rubbish_ = 0;
  events_.progress();
  settle(delivered.outbox_id, Receipt{std::move(delivered.platform_id)});
}

void Session::on(Failed failed) {
  rubbish_ = 0;
  if (failed.error.what.empty()) failed.error.what = "the channel program gave no reason";
  settle(failed.outbox_id, std::unexpected(std::move(failed.error)));
}

void Session::settle(std::int64_t outbox_id, std::expected<Receipt, DeliveryError> outcome) {
  if (const auto debt = debts_.find(outbox_id); debt != debts_.end()) {
    if (--debt->second.lines == 0) debts_.erase(debt);
    return paid_.pulse();
  }
  const auto found = deliveries_.find(outbox_id);
  if (found == deliveries_.end() || !found->second->told) return;  // late, or nobody's
  found->second->outcome = std::move(outcome);
  found->second->done.set();
  deliveries_.erase(found);
}

void Session::on(Alive) {
  rubbish_ = 0;
  events_.progress();
}

void Session::on(Log log) {
  if (hello_) rubbish_ = 0;
  events_.log(log.warning, shown(log.text));
}

void Session::on(Unknown unknown) { say(error_line(fmt::format("unknown type \"{}\"", unknown.type))); }

// Waits for what it has yet to say about earlier deliveries of the same reply.
Task<bool> Session::owes_nothing(std::int64_t outbox_id) {
  const Deadline patience = Deadline::in(times_.delivery);
  for (;;) {
    const auto debt = debts_.find(outbox_id);
    if (end_ || debt == debts_.end()) co_return true;
    if (SteadyClock::now() - debt->second.since >= times_.debt)
      finish(fmt::format("it did not account for reply {} within {}", outbox_id, format_duration(times_.debt)));
    else if (!co_await paid_.wait(patience))
      co_return false;
  }
}

Task<std::expected<Receipt, DeliveryError>> Session::deliver(Reply reply) {
  if (!co_await owes_nothing(reply.outbox_id))
    co_return undelivered(Fate::retry, "the channel program did not account for an earlier delivery of this reply");
  if (end_) co_return undelivered(Fate::retry, "the channel program is not running");
  if (deliveries_.size() >= max_deliveries || unsaid_bytes_ > max_unsaid)
    co_return undelivered(Fate::retry, "too many replies wait for the channel program");
  std::string line = deliver_line(reply);
  if (line.size() > max_line) co_return undelivered(Fate::dead, "the reply is longer than a line may be");
  const auto delivery = std::make_shared<Delivery>(executor_);
  const auto id = reply.outbox_id;
  deliveries_[id] = delivery;
  say(std::move(line), delivery);
  struct Leave {
    Session& session;
    std::int64_t id;
    const std::shared_ptr<Delivery>& mine;
    ~Leave() {
      mine->abandoned = true;
      if (mine->outcome) return;
      if (const auto found = session.deliveries_.find(id); found != session.deliveries_.end() && found->second == mine)
        session.deliveries_.erase(found);
      if (mine->told) ++session.debts_.try_emplace(id, Debt{0, SteadyClock::now()}).first->second.lines;
    }
  };
  {
    const Leave leave{*this, id, delivery};
    (void)co_await delivery->done.wait(Deadline::in(times_.delivery));
  }
  if (delivery->outcome) co_return *delivery->outcome;
  co_return undelivered(
      delivery->told ? Fate::unknown : Fate::retry,
      fmt::format("the channel program did not account for it within {}", format_duration(times_.delivery)));
}

void Session::typing(const Route& route) {
  if (!end_ && hello_ && unsaid_.empty()) say(typing_line(route));
}

}  // namespace talaria::program
