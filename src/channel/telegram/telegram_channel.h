#pragma once
// The channel behind make_telegram_channel(): asks Telegram for messages, for ever, or is told of them, and carries
// replies there.

#include <deque>
#include <memory>
#include <string>

#include "channel/telegram/bot_api.h"
#include "channel/telegram/receiver.h"
#include "channel/telegram/sender.h"
#include "channel/telegram/telegram.h"

namespace talaria::telegram {

struct TelegramTimes {
  Millis poll{50'000};            // Telegram holds a poll that long
  Millis poll_margin{10'000};     // and its answer may be that late
  Millis call{30'000};            // any other answer
  Millis reconnect_first{1'000};  // delays after a failure, each about twice the one before
  Millis reconnect_longest{60'000};
  Millis lasting_first{30'000};  // where only a person can help: the token is refused
  Millis lasting_longest{1'800'000};
  Millis rival_first{5'000};  // another program fetches this bot's messages
  Millis rival_longest{300'000};
  Millis stable{60'000};   // up for so long starts the delays anew
  Millis hold_first{100};  // the journal does not take a message
  Millis hold_longest{30'000};
};
// All that follows from the length of a poll.
[[nodiscard]] TelegramTimes times_for(Millis poll);

class TelegramChannel final : public Channel, public HookEndpoint {
 public:
  TelegramChannel(const ChannelConfig& config, TelegramSecrets secrets, asio::any_io_executor executor,
                  const WallClock& clock, TelegramTimes times);

  [[nodiscard]] std::string_view name() const override { return config_.name; }
  [[nodiscard]] std::string_view kind() const override { return "telegram"; }
  [[nodiscard]] std::string account() const override;
  Task<> run(Inbox& inbox) override;
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override;
  [[nodiscard]] ChannelHealth health() const override { return {state_, last_progress_, error_}; }
  [[nodiscard]] bool can_edit() const override { return true; }
  void typing(const Route& route) override;
  [[nodiscard]] HookEndpoint* hook() override { return webhook() ? this : nullptr; }
  void network_is_back() override;
  [[nodiscard]] Event& changed() override { return changed_; }

  Task<HookResponse> handle(HookRequest request) override;

 private:
  enum class Trouble { passing, lasting, rival };
  struct End {
    Trouble trouble = Trouble::passing;
    std::string what;
    Millis retry_after{0};
  };
  class Delays;

  [[nodiscard]] bool webhook() const { return !config_.telegram.webhook_url.empty(); }
  Task<> stay_connected(Inbox& inbox);
  Task<End> work(Inbox& inbox);
  Task<std::optional<End>> introduce_ourselves();
  Task<End> poll_for_ever(Inbox& inbox);
  Task<End> watch_webhook();
  Task<std::optional<ApiResult<boost::json::value>>> poll(Millis held);
  Task<> take_all(Inbox& inbox, std::vector<Update> updates);
  Task<> type_for_ever();
  [[nodiscard]] static End end_of(const ApiFailure& failure);
  void note_progress();
  void enter(ChannelState state, std::string error);

  ChannelConfig config_;
  TelegramSecrets secrets_;
  const WallClock& clock_;
  TelegramTimes times_;
  BotApi api_;
  Sender sender_;
  Receiver receiver_;
  Event changed_;  // the health's state
  Event network_;  // may be back
  Event type_;     // somebody is to be shown that we write
  std::deque<Route> to_type_;

  Inbox* inbox_ = nullptr;  // while run() runs
  bool webhook_deleted_ = false;
  std::int64_t offset_ = 0;  // of the next poll: above every update that is journalled; 0: what Telegram has
  SteadyClock::time_point last_update_;
  ChannelState state_ = ChannelState::connecting;
  std::string error_;
  std::optional<UnixMillis> last_progress_;
  std::optional<SteadyClock::time_point> up_since_;
};

}  // namespace talaria::telegram
