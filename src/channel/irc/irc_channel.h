#pragma once
// The channel behind make_irc_channel(): keeps a connection, for ever, and carries replies to it.

#include <functional>
#include <memory>
#include <random>
#include <string>

#include "channel/irc/connection.h"
#include "channel/irc/hold_queue.h"
#include "channel/irc/irc.h"
#include "channel/irc/outgoing.h"
#include "channel/irc/session.h"
#include "net/stream.h"

namespace talaria::irc {

using Dialer = std::function<Task<Result<std::unique_ptr<Stream>>>(DialOptions, Deadline)>;

struct IrcTimes {
  SessionTimes session;
  Millis connect{30'000};
  Millis reconnect_first{1'000};
  Millis reconnect_longest{300'000};
  Millis lasting_first{300'000};  // where the configuration is wrong (SASL refused …)
  Millis lasting_longest{1'800'000};
  Millis stable{60'000};       // a connection that was up that long starts the delays anew
  Millis wait_for_up{30'000};  // a delivery waits that long for a connection
};

class IrcChannel final : public Channel {
 public:
  IrcChannel(const ChannelConfig& config, IrcSecrets secrets, asio::any_io_executor executor, const WallClock& clock,
             Dialer dialer, IrcTimes times = {});

  [[nodiscard]] std::string_view name() const override { return config_.name; }
  [[nodiscard]] std::string_view kind() const override { return "irc"; }
  [[nodiscard]] std::string account() const override;
  Task<> run(Inbox& inbox) override;
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override;
  [[nodiscard]] ChannelHealth health() const override;
  [[nodiscard]] Event& changed() override { return changed_; }
  void network_is_back() override;
  [[nodiscard]] std::vector<InboundEvent> take_held() override { return hold_.take_all(); }

 private:
  Task<> stay_connected();
  Task<SessionEnd> connect_once();
  Task<Result<std::unique_ptr<Stream>>> dial_server();
  Task<bool> wait_until_sendable(std::string target);
  [[nodiscard]] SessionSettings session_settings();
  [[nodiscard]] std::vector<std::string> lines_for(const Reply& reply) const;
  std::string next_id();
  void note_progress();
  void enter(ChannelState state, std::string error);
  Millis jittered(Millis delay);

  ChannelConfig config_;
  IrcSecrets secrets_;
  asio::any_io_executor executor_;
  const WallClock& clock_;
  Dialer dial_;
  IrcTimes times_;

  HoldQueue hold_;
  Inbox* inbox_ = nullptr;  // while it runs
  Outgoing outgoing_;
  Event work_;                  // the writer has something to write
  Event sendable_;              // deliveries may look again whether they can be sent
  Event changed_;               // the health's state
  Event network_;               // may be back
  Session* session_ = nullptr;  // of the connection, while there is one
  Connection* connection_ = nullptr;
  std::mt19937_64 random_;
  std::uint64_t epoch_;  // random: tells the ids of this process from those of any other
  std::uint64_t ids_ = 0;

  bool ended_ = false;  // run() was cancelled
  ChannelState state_ = ChannelState::connecting;
  std::string error_;
  std::optional<UnixMillis> last_progress_;
  std::optional<SteadyClock::time_point> up_since_;
};

}  // namespace talaria::irc
