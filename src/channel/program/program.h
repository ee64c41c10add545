#pragma once
// A channel in any language: a program of the operator's that talks to a platform on one side and, line by line, to the
// gateway on the other (docs/channel-programs.md; program/protocol.h).
//
// What is promised: a message is `accepted` only when it is journalled, and until then the program keeps it. A reply
// that the program was told of and did not account for before it died may have arrived: its fate is unknown. Whatever
// the program says or fails to say costs bounded memory and time; it is started anew, after growing delays, when it
// ends, falls silent, stops reading or talks rubbish.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"
#include "channel/channel.h"
#include "config/config.h"

namespace talaria {

struct ProgramEnvironment {
  std::vector<std::string> own;     // "NAME=secret"
  std::vector<std::string> hidden;  // names of ours that it must not inherit
};
// For the operator: what the program says (log, standard error) and what became of it. One line, printable, bounded.
using ProgramLog = std::function<void(bool warning, std::string_view line)>;

// `clock` must outlive the channel.
[[nodiscard]] std::unique_ptr<Channel> make_program_channel(const ChannelConfig& config, ProgramEnvironment environment,
                                                            boost::asio::any_io_executor executor,
                                                            const WallClock& clock, ProgramLog log);

}  // namespace talaria
