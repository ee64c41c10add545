#pragma once
// LiveAnswer shows an answer while the agent writes it, on channels that can edit a message (R3: the outbox row owns
// the message from its first piece on). Nothing is shown of an answer that is ready within `first_delay`; after that
// the message is edited at most every `edit_interval`. What can't be shown is left to the final reply.
//
//   LiveAnswer live(delivery, store, clock, row);
//   tasks.spawn("live answer", live.run());
//   … agent->run(request, live) …
//   co_await live.finish();                     // nothing is on its way any more; now the turn's end may be written

#include <string>

#include "agent/agent.h"
#include "gateway/delivery.h"
#include "store/journal.h"
#include "store/store.h"

namespace talaria {

class LiveAnswer final : public ReplySink, public std::enable_shared_from_this<LiveAnswer> {
 public:
  // `names_files`: lines of the answer may name files to send along (gateway/answer_files.h); they are not shown.
  LiveAnswer(asio::any_io_executor executor, Delivery& delivery, Store& store, const WallClock& clock,
             const TurnRow& turn, bool names_files, LiveTimes times = {});

  void on_text(std::string_view piece) override;
  [[nodiscard]] bool wants_pieces() const override { return shows_; }

  // Until finish(), or cancelled. Keeps itself alive.
  static Task<> run(std::shared_ptr<LiveAnswer> self);
  // No piece follows.
  void stop();
  // The same, and returns when nothing is being sent any more.
  Task<> finish();

 private:
  Task<> show_pieces();
  Task<bool> show_now();

  Delivery& delivery_;
  Store& store_;
  const WallClock& clock_;
  const std::int64_t turn_;
  const RouteRow route_;
  const LiveTimes times_;
  const bool names_files_;
  const bool shows_;  // else it only says that it is typing
  std::string text_;
  std::size_t shown_ = 0;  // bytes of the text
  StreamRow row_;
  bool finishing_ = false;
  Event more_;   // a piece, or the end
  Event ended_;  // set when run() has ended
};

}  // namespace talaria
