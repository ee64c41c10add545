#pragma once
// Telegram: one bot (https://core.telegram.org/bots/api), by long polling or by webhook.
//
// What is promised: a message that Telegram has for the bot is journalled before Telegram is told that we have it, so
// what arrived while we were away is answered, oldest first, and what is delivered twice is answered once. A reply
// counts as delivered when Telegram has answered with the number of the message. Telegram has no way to recognise a
// reply that is sent again: one whose fate is unknown is sent again with a mark, except for edits, which may be
// repeated as often as one likes.
//
// What is left out: messages that are edited after they were sent, channels' posts, reactions, inline queries.
//
// Names: Route.conversation is the chat's number, Route.thread the topic's in a forum, Route.reply_to the message's
// (in groups); Sender.id is the account's number.

#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"
#include "channel/channel.h"
#include "config/config.h"

namespace talaria {

struct TelegramSecrets {
  std::string token;
  std::string webhook_secret;
};

// `clock` must outlive the channel.
[[nodiscard]] std::unique_ptr<Channel> make_telegram_channel(const ChannelConfig& config, TelegramSecrets secrets,
                                                             boost::asio::any_io_executor executor,
                                                             const WallClock& clock);

}  // namespace talaria
