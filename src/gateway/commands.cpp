#include "gateway/commands.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/log.h"

namespace talaria {
namespace {

CommandAnswer help(const InboundEvent& event, const CommandDesk&) {
  std::string text;
  for (const Command& command : commands()) {
    if (command.for_admins && !event.sender.admin) continue;
    text += fmt::format("{}{}: {}", text.empty() ? "" : "\n", command.name, command.doc);
  }
  return {text};
}

CommandAnswer restart(const InboundEvent& event, const CommandDesk& desk) {
  if (!desk.may_restart || !desk.restart) return {"I can't restart myself here."};
  if (auto may = desk.may_restart(); !may) {
    log::warning("{}: /restart of {} refused: {}", event.route.channel, event.sender.id, may.error().what);
    if (may.error().kind == ErrorKind::invalid)
      return {"My configuration has mistakes, so I could not start again. I keep running; the log lists them."};
    return {"I am shutting down, so I can't restart now."};
  }
  return {"I am restarting, one moment.", true};
}

constexpr Command command_table[] = {
    {"/help", false, "what I can be asked for", help},
    {"/restart", true, "ends what runs, then starts the gateway again", restart},
};

}  // namespace

std::span<const Command> commands() { return command_table; }

const Command* find_command(std::string_view text) {
  while (text.ends_with(' ') || text.ends_with('\n')) text.remove_suffix(1);
  const auto* found = std::ranges::find(command_table, text, &Command::name);
  return found == std::ranges::end(command_table) ? nullptr : found;
}

CommandAnswer answer_command(const Command& command, const InboundEvent& event, const CommandDesk& desk) {
  if (command.for_admins && !event.sender.admin) {
    log::warning("{}: {} of {} refused: not an administrator", event.route.channel, command.name, event.sender.id);
    return {fmt::format("Sorry, {} is for administrators.", command.name)};
  }
  return command.answer(event, desk);
}

}  // namespace talaria
