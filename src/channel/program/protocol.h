#pragma once
// The line protocol between the gateway and a channel program, version 1 (docs/channel-programs.md): one JSON object
// per line, UTF-8, `type` says what it is. What the program says is parsed here, defensively: unknown members are
// ignored, wrong types are errors that name the member, texts are bounded by the line.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/time.h"
#include "channel/channel.h"

namespace talaria::program {

inline constexpr int protocol_version = 1;
inline constexpr std::size_t max_line = 1024 * 1024;  // bytes, without its end
inline constexpr std::size_t max_id = 4096;           // bytes of an id, a name, a conversation

struct Hello {
  std::string account;  // for the log
  bool can_edit = false;
  bool recognises_repeats = false;
  bool connecting = false;  // not up yet: a State follows
};
struct State {
  bool up = false;
  std::string error;
};
struct Message {
  InboundEvent event;  // without the channel's name
};
struct Delivered {
  std::int64_t outbox_id = 0;
  std::string platform_id;
};
struct Failed {
  std::int64_t outbox_id = 0;
  DeliveryError error;
};
struct Alive {};
struct Log {
  bool warning = false;
  std::string text;
};
// Well-formed, of a type that this version does not know.
struct Unknown {
  std::string type;
};
using Line = std::variant<Hello, State, Message, Delivered, Failed, Alive, Log, Unknown>;

struct LineError {
  bool garbage = false;  // no JSON object with a type at all
  std::string what;      // fit for the program
  std::string id;        // of the message that it is about; empty: of none
  std::string conversation;
};
[[nodiscard]] std::expected<Line, LineError> parse_line(std::string_view line);

// What the gateway says; each with its line end.
[[nodiscard]] std::string welcome_line(std::string_view channel);
[[nodiscard]] std::string accepted_line(std::string_view id, std::string_view conversation, bool duplicate);
[[nodiscard]] std::string refused_line(std::string_view id, std::string_view conversation, std::string_view what);
[[nodiscard]] std::string hold_line(std::string_view id, std::string_view conversation, int retry_after_seconds);
[[nodiscard]] std::string deliver_line(const Reply& reply);
[[nodiscard]] std::string typing_line(const Route& route);
[[nodiscard]] std::string ping_line();
[[nodiscard]] std::string stop_line();
[[nodiscard]] std::string error_line(std::string_view what);

}  // namespace talaria::program
