#pragma once
// Every command of the program, in the order in which help lists them. A new command: one file, one declaration here,
// one line in the table (commands.cpp).

#include <span>

#include "cli/command.h"

namespace talaria::cli {

// A noun groups commands: `talaria NOUN VERB`.
struct Noun {
  const char* name;
  const char* description;
  const char* example;
};
[[nodiscard]] std::span<const Noun> nouns();
[[nodiscard]] std::span<const CommandEntry> commands();

void add_config_check(CLI::App& parent, Context& context);
void add_config_path(CLI::App& parent, Context& context);
void add_config_get(CLI::App& parent, Context& context);
void add_config_explain(CLI::App& parent, Context& context);
void add_gateway_run(CLI::App& parent, Context& context);
void add_gateway_status(CLI::App& parent, Context& context);
void add_gateway_history(CLI::App& parent, Context& context);
void add_gateway_install(CLI::App& parent, Context& context);
void add_gateway_uninstall(CLI::App& parent, Context& context);
void add_gateway_start(CLI::App& parent, Context& context);
void add_gateway_stop(CLI::App& parent, Context& context);
void add_gateway_restart(CLI::App& parent, Context& context);
void add_gateway_upgrade(CLI::App& parent, Context& context);
void add_gateway_self_check(CLI::App& parent, Context& context);
void add_gateway_reload(CLI::App& parent, Context& context);
void add_gateway_list(CLI::App& parent, Context& context);
void add_gateway_logs(CLI::App& parent, Context& context);
void add_gateway_announce_stop(CLI::App& parent, Context& context);
void add_gateway_record_exit(CLI::App& parent, Context& context);
void add_send(CLI::App& parent, Context& context);
void add_chat(CLI::App& parent, Context& context);
void add_sessions_list(CLI::App& parent, Context& context);
void add_sessions_show(CLI::App& parent, Context& context);
void add_sessions_reset(CLI::App& parent, Context& context);
void add_sessions_export(CLI::App& parent, Context& context);
void add_outbox_list(CLI::App& parent, Context& context);
void add_outbox_retry(CLI::App& parent, Context& context);
void add_outbox_discard(CLI::App& parent, Context& context);
void add_doctor(CLI::App& parent, Context& context);
void add_version(CLI::App& parent, Context& context);
void add_completion(CLI::App& parent, Context& context);
void add_man(CLI::App& parent, Context& context);

}  // namespace talaria::cli
