#pragma once
// E-mail: one mailbox on an IMAP server that is read, and an SMTP server that answers are given to.
//
// What is promised: every mail of somebody who is allowed is answered once, also when it came while the gateway or the
// server was down, and whatever dies in between: a mail is known by its Message-ID, in the journal for ever, and an
// answer by its own, which is the same however often it is sent.
//
// How far the mailbox was read is kept as a cursor, "v1 UIDVALIDITY UID SINCE" (RFC 3501, 2.3.1.1): it moves after the
// journal has a mail. Where a server has numbered its mails anew, all since SINCE, the first start, are read again, and
// the journal recognises those it has.

#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"
#include "channel/channel.h"
#include "config/config.h"

namespace talaria {

// `clock` must outlive the channel.
[[nodiscard]] std::unique_ptr<Channel> make_email_channel(const ChannelConfig& config, std::string password,
                                                          boost::asio::any_io_executor executor,
                                                          const WallClock& clock);

}  // namespace talaria
