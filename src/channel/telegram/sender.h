#pragma once
// Replies on their way to Telegram: rendered, cut into messages, at the pace that is allowed, and what became of them.
//
// A reply is a row of messages: its text in pieces, then its files. Whatever arrived stays arrived: an attempt that
// fails in the middle says so (Reply::parts_sent), or, where nobody listens, calls the whole of it unknown.

#include <expected>
#include <map>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "channel/channel.h"
#include "channel/telegram/bot_api.h"
#include "channel/telegram/pace.h"
#include "runtime/event.h"

namespace talaria::telegram {

inline constexpr std::size_t message_limit = 4096;  // UTF-16 code units, after Telegram has read the markup

struct SenderTimes {
  Millis call{30'000};      // an answer to any call but an upload
  Millis upload{120'000};   // sending a file
  Millis patience{10'000};  // a delivery waits that long for its turn; then it comes back later
};

class Sender {
 public:
  using Outcome = std::expected<Receipt, DeliveryError>;

  // `api` must outlive it.
  Sender(asio::any_io_executor executor, BotApi& api, Pace pace, SenderTimes times);
  ~Sender();

  Task<Outcome> deliver(Reply reply);
  // "is typing …"; errors are of no interest.
  Task<> show_typing(Route route);
  // From now on, deliveries that wait for their turn end, and new ones do at once.
  void stop();

 private:
  struct Target {
    std::string chat;
    std::string thread;    // empty: none
    std::string reply_to;  // empty: none
  };
  Task<std::expected<void, DeliveryError>> wait_turn(std::string chat, Pace::Act act, bool partial, bool patient);
  Task<ApiResult<std::string>> send_text(Target& target, std::string markdown, std::string mark);
  Task<ApiResult<std::string>> edit_text(Target& target, std::string message_id, std::string markdown);
  Task<std::expected<void, DeliveryError>> delete_message(Target& target, std::string message_id);
  Task<ApiResult<std::string>> send_file(Target& target, Attachment file, std::string mark);
  Task<Result<std::string>> read_file(std::string path);
  void note(const Target& target, const ApiFailure& failure);
  [[nodiscard]] std::string current(const std::string& chat) const;

  asio::any_io_executor executor_;
  BotApi& api_;
  Pace pace_;
  SenderTimes times_;
  Event stopped_;
  std::map<std::string, std::string> moved_;  // groups that became supergroups: old number → new one
  asio::thread_pool files_{1};                // reads files: a disk may be slow
};

}  // namespace talaria::telegram
