#pragma once
// Webhooks as a channel: services report what happens (GitHub, GitLab, whoever signs as Standard Webhooks), each report
// becomes a turn or is passed on as it is; and replies go out as signed webhooks.
//
// What is promised: a report is answered 2xx only when it is journalled, and one that was journalled is recognised for
// ever by the identity that its sender gives it. Reports have no conversation by nature: each is one of its own, or
// those with the same `session` text are one. Answers go to `deliver_to`, or to `url`.

#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"
#include "channel/channel.h"
#include "config/config.h"

namespace talaria {

struct WebhookSecrets {
  std::string secret;       // of those who send to us
  std::string sign_secret;  // of ours, for those we send to
};

// `clock` must outlive the channel.
[[nodiscard]] std::unique_ptr<Channel> make_webhook_channel(const ChannelConfig& config, WebhookSecrets secrets,
                                                            boost::asio::any_io_executor executor,
                                                            const WallClock& clock);

}  // namespace talaria
