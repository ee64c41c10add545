#include "cli/commands.h"

namespace talaria::cli {
namespace {

// A noun is shown as soon as a command below stands under it.
constexpr Noun noun_table[] = {
    {"gateway", "Run the gateway and its service", "talaria gateway status"},
    {"config", "Check and explain the configuration", "talaria config check"},
    {"profile", "Several gateways on one machine", "talaria profile list"},
    {"sessions", "Conversations the gateway remembers", "talaria sessions list"},
    {"outbox", "Answers on their way to a channel", "talaria outbox list"},
};

constexpr CommandEntry command_table[] = {
    {"", add_version},
    {"", add_completion},
};

}  // namespace

std::span<const Noun> nouns() { return noun_table; }
std::span<const CommandEntry> commands() { return command_table; }

}  // namespace talaria::cli
