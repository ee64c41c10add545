#pragma once
// What of a message is meant for us, and the event it becomes. In a private chat everything is; in a group a mention of
// the bot, an answer to one of its messages, and a command that carries its name. Bots are never answered: two programs
// would talk for ever. Nor are channels' posts and people who write as a chat, of whom we don't know who they are.

#include <optional>
#include <string>

#include "channel/channel.h"
#include "channel/telegram/update.h"

namespace talaria::telegram {

struct Identity {
  std::int64_t id = 0;
  std::string username;  // without @
};

enum class Groups { addressed, all, off };

// The text without the mention ("@bot what's up" → "what's up", "/new@bot" → "/new"); none: not for us. Empty: only the
// mention, or only files.
[[nodiscard]] std::optional<std::string> text_for_us(const Message& message, const Identity& self, Groups groups);

// Without attachments. `text`: from text_for_us().
[[nodiscard]] InboundEvent make_event(const Message& message, std::string channel, std::string text, bool admin,
                                      UnixMillis now);

}  // namespace talaria::telegram
