#include "gateway/live_answer.h"

#include "gateway/answer_files.h"
#include "runtime/backoff.h"
#include "runtime/log.h"

namespace talaria {

LiveAnswer::LiveAnswer(asio::any_io_executor executor, Delivery& delivery, Store& store, const WallClock& clock,
                       const TurnRow& turn, bool names_files, LiveTimes times)
    : delivery_(delivery),
      store_(store),
      clock_(clock),
      turn_(turn.id),
      route_(turn.route),
      times_(times),
      names_files_(names_files),
      shows_(delivery.can_edit(turn.route.channel)),
      more_(executor),
      ended_(executor) {}

void LiveAnswer::on_text(std::string_view piece) {
  text_ += piece;
  more_.pulse();
}

Task<> LiveAnswer::run(std::shared_ptr<LiveAnswer> self) {
  struct Ended {
    Event& event;
    ~Ended() { event.set(); }
  } ended{self->ended_};
  co_await self->show_pieces();
}

void LiveAnswer::stop() {
  finishing_ = true;
  more_.pulse();
}

Task<> LiveAnswer::finish() {
  stop();
  co_await ended_.wait();
}

Task<> LiveAnswer::show_pieces() {
  const Route route{route_.channel, route_.conversation, route_.thread, route_.reply_to};
  Deadline type_at = Deadline::in(Millis{0});
  Deadline show_at = Deadline::never();
  while (!finishing_) {
    if (type_at.expired()) {
      delivery_.typing(route);
      type_at = Deadline::in(times_.typing_interval);
    }
    const bool news = shows_ && text_.size() > shown_;
    if (news && show_at.is_never()) show_at = Deadline::in(times_.first_delay);
    if (news && show_at.expired()) {
      if (!co_await show_now()) co_return;
      show_at = Deadline::in(times_.edit_interval);
      continue;
    }
    co_await more_.wait(news ? type_at.earlier(show_at) : type_at);
  }
}

// False: this answer can't be shown any more before it is whole.
Task<bool> LiveAnswer::show_now() {
  if (!delivery_.can_show(route_)) co_return true;
  const std::size_t size = text_.size();
  std::string text = names_files_ ? text_to_show(text_) : text_;
  if (text.empty()) {
    shown_ = size;
    co_return true;
  }
  if (row_.id == 0) {
    auto begun = co_await store_.write([turn = turn_, route = route_, now = clock_.now()](Database& db) {
      return begin_stream(db, turn, route, now);
    });
    if (!begun) {
      log::warning("turn {}: its answer is not shown before it is whole: {}", turn_, begun.error().what);
      co_return false;
    }
    row_ = std::move(*begun);
  }
  auto outcome =
      co_await delivery_.show({.outbox_id = row_.id,
                               .route = {route_.channel, route_.conversation, route_.thread, route_.reply_to},
                               .text = std::move(text),
                               .may_be_repeat = row_.repeats > 0,
                               .edits = row_.platform_id,
                               .partial = true});
  if (!outcome) co_return true;  // not now
  const bool first = row_.platform_id.empty();
  if (*outcome) {
    shown_ = size;
    if (!first && (*outcome)->platform_id == row_.platform_id) co_return true;
    row_.platform_id = (*outcome)->platform_id;
  }
  if (!first && !*outcome) co_return true;  // an edit that failed: the next one says it all
  const bool unknown = !*outcome && outcome->error().fate == DeliveryError::Fate::unknown;
  Backoff backoff(Millis{200}, Millis{10'000});
  for (;;) {
    auto stored = co_await store_.write([&, id = row_.id](Database& db) {
      return *outcome ? stream_shown(db, id, row_.platform_id) : stream_not_shown(db, id, unknown);
    });
    if (stored) break;
    log::error("outbox: {}", stored.error().what);
    co_await sleep_for(backoff.next());
  }
  // The first try decides: what failed is sent once more, whole.
  co_return outcome->has_value();
}

}  // namespace talaria
