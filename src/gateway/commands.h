#pragma once
// What people can ask the gateway itself for, from a chat: one table. A command is the whole text of a message;
// anything else goes to the agent, also a text that begins with a slash and is not in the table.
//
// A command has no turn. It is journalled together with its answer (store/notices.h), so a redelivery does nothing and
// a crash repeats nothing.

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "channel/channel.h"

namespace talaria {

// What commands need of the rest of the house; each may be empty, then it can't be done.
struct CommandDesk {
  // Whether a restart makes sense now (configuration right, not stopping); the error is fit for the log.
  std::function<Result<>()> may_restart;
  // Restarts when the reply of this outbox row has left, or soon after. Called once for everybody who asked.
  std::function<void(const std::string& by, std::int64_t goodbye)> restart;
};

struct CommandAnswer {
  std::string text;
  bool restarts = false;
};

struct Command {
  std::string_view name;  // "/restart"
  bool for_admins = false;
  std::string_view doc;
  CommandAnswer (*answer)(const InboundEvent&, const CommandDesk&) = nullptr;
};

[[nodiscard]] std::span<const Command> commands();
// Null: the text is no command.
[[nodiscard]] const Command* find_command(std::string_view text);
// The command's answer, or a polite refusal.
[[nodiscard]] CommandAnswer answer_command(const Command& command, const InboundEvent& event, const CommandDesk& desk);

}  // namespace talaria
