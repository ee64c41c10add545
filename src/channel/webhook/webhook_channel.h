#pragma once
// The channel behind make_webhook_channel(): takes hooks while it runs, and posts replies, a few at a time.

#include <optional>
#include <string>
#include <vector>

#include "channel/webhook/inbound.h"
#include "channel/webhook/outbound.h"
#include "channel/webhook/webhook.h"
#include "runtime/event.h"

namespace talaria::webhook {

class WebhookChannel final : public Channel, public HookEndpoint {
 public:
  WebhookChannel(const ChannelConfig& config, WebhookSecrets secrets, asio::any_io_executor executor,
                 const WallClock& clock);

  [[nodiscard]] std::string_view name() const override { return config_.name; }
  [[nodiscard]] std::string_view kind() const override { return "webhook"; }
  Task<> run(Inbox& inbox) override;
  Task<std::expected<Receipt, DeliveryError>> deliver(Reply reply) override;
  [[nodiscard]] ChannelHealth health() const override { return {state_, last_progress_, {}}; }
  [[nodiscard]] bool recognises_repeats() const override { return true; }
  [[nodiscard]] HookEndpoint* hook() override { return scheme_ ? this : nullptr; }
  [[nodiscard]] Event& changed() override { return changed_; }

  Task<HookResponse> handle(HookRequest request) override;

 private:
  [[nodiscard]] InboundEvent event_of(const Report& report) const;
  Task<std::expected<Receipt, DeliveryError>> post(Reply reply);

  ChannelConfig config_;
  WebhookSecrets secrets_;
  const WallClock& clock_;
  std::optional<Scheme> scheme_;  // none: it sends alone
  std::vector<TextPiece> prompt_, session_;
  std::optional<Route> deliver_to_;
  std::optional<Outbound> outbound_;
  Inbox* inbox_ = nullptr;  // while it runs
  int posting_ = 0;
  Event posted_;
  Event ended_;  // run() was cancelled
  Event changed_;
  ChannelState state_ = ChannelState::connecting;
  std::optional<UnixMillis> last_progress_;
};

}  // namespace talaria::webhook
