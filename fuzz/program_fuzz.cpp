// Lines of a channel program: any bytes. What is checked: what is read keeps its bounds, and what we answer about it is
// one line of JSON.

#include <boost/json.hpp>
#include <cstdint>
#include <cstdlib>

#include "channel/program/protocol.h"

using namespace talaria;
using namespace talaria::program;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void check_line(const std::string& line) {
  check(line.find('\n') == line.size() - 1);
  boost::system::error_code failed;
  check(boost::json::parse(line, failed).is_object() && !failed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto line = parse_line(input);
  if (!line) {
    check(!line.error().what.empty() && line.error().id.size() <= max_id);
    check_line(error_line(line.error().what));
    return 0;
  }
  if (const auto* message = std::get_if<Message>(&*line)) {
    const InboundEvent& event = message->event;
    check(!event.message_id.empty() && event.message_id.size() <= max_id && !event.sender.id.empty());
    check(!event.route.conversation.empty() && event.route.conversation.size() <= max_id);
    check(event.received_at >= 0);
    check_line(accepted_line(event.message_id, event.route.conversation, true));
    check_line(deliver_line({.outbox_id = 1, .route = event.route, .text = event.text}));
  }
  if (const auto* failed = std::get_if<Failed>(&*line)) check(failed->error.retry_after >= Millis{0});
  check_line(error_line(input));
  check_line(refused_line(input, input, input));
  return 0;
}
