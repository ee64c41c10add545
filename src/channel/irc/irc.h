#pragma once
// IRC: one account on one server or network (RFC 1459, IRCv3).
//
// What is promised: a message that the gateway has journalled is answered; a reply counts as delivered when the server
// has processed all its lines. What IRC can't give: messages sent while we are not connected never reach us, messages
// still held when the process dies are lost, and a private answer goes to whoever has the asker's nick at that time.
//
// A reply to a nick that is not there is dead, except in the first minute on a server, when people are still coming
// back.
//
// Names: Route.conversation is a nick or a channel. In channels, message ids are "asker!id" and Route.reply_to is the
// same, so that the answer can begin with "asker: ".

#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"
#include "channel/channel.h"
#include "config/config.h"

namespace talaria {

struct IrcSecrets {
  std::string sasl_password;
  std::string server_password;
};

// `clock` must outlive the channel.
[[nodiscard]] std::unique_ptr<Channel> make_irc_channel(const ChannelConfig& config, IrcSecrets secrets,
                                                        boost::asio::any_io_executor executor, const WallClock& clock);

}  // namespace talaria
