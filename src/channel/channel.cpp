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

Task<Result<Attachment>> Inbox::keep(std::string /*name*/, std::string /*type*/, std::string /*bytes*/) {
  co_return fail(ErrorKind::unavailable, "files are not kept here");
}

Task<Result<std::string>> Inbox::cursor(std::string /*channel*/, std::string /*name*/) {
  co_return fail(ErrorKind::unavailable, "cursors are not kept here");
}

Task<Result<>> Inbox::set_cursor(std::string /*channel*/, std::string /*name*/, std::string /*value*/) {
  co_return fail(ErrorKind::unavailable, "cursors are not kept here");
}

Task<Result<bool>> Inbox::knows(Route /*route*/, std::string /*message_id*/) { co_return false; }

Task<Result<>> Inbox::skip(InboundEvent /*event*/, std::string /*why*/) {
  co_return fail(ErrorKind::unavailable, "nothing is journalled here");
}

std::string_view HookRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

}  // namespace talaria
