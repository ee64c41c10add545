#include "channel/channel.h"

namespace talaria {

std::string_view to_string(ChannelState state) {
  switch (state) {
    case ChannelState::connecting: return "connecting";
    case ChannelState::up: return "up";
    case ChannelState::down: return "down";
  }
  return "down";
}

}  // namespace talaria
