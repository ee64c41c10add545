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
    {"gateway", add_gateway_run},
    {"gateway", add_gateway_install},
    {"gateway", add_gateway_uninstall},
    {"gateway", add_gateway_start},
    {"gateway", add_gateway_stop},
    {"gateway", add_gateway_restart},
    {"gateway", add_gateway_upgrade},
    {"gateway", add_gateway_reload},
    {"gateway", add_gateway_status},
    {"gateway", add_gateway_list},
    {"gateway", add_gateway_history},
    {"gateway", add_gateway_logs},
    {"gateway", add_gateway_announce_stop},
    {"gateway", add_gateway_record_exit},
    {"gateway", add_gateway_self_check},
    {"", add_send},
    {"", add_chat},
    {"sessions", add_sessions_list},
    {"sessions", add_sessions_show},
    {"sessions", add_sessions_reset},
    {"sessions", add_sessions_export},
    {"outbox", add_outbox_list},
    {"outbox", add_outbox_retry},
    {"outbox", add_outbox_discard},
    {"config", add_config_check},
    {"config", add_config_path},
    {"config", add_config_get},
    {"config", add_config_explain},
    {"", add_doctor},
    {"", add_version},
    {"", add_completion},
    {"", add_man},
};

}  // namespace

std::span<const Noun> nouns() { return noun_table; }
std::span<const CommandEntry> commands() { return command_table; }

}  // namespace talaria::cli
