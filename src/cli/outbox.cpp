// `talaria outbox`: answers on their way, and the dead ones.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "cli/table.h"

namespace talaria::cli {
namespace json = boost::json;
namespace {

std::string cell_of(const json::value& row, const char* key) {
  const json::value& value = row.at(key);
  if (value.is_string()) return printable(truncate_utf8(value.get_string(), 60));
  return json::serialize(value);
}

int list_outbox(const Context& context, const std::string& state, bool as_json) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto answer = control_call(*paths, "GET", "/control/outbox?state=" + state, {}, store_patience);
  if (!answer) return report(answer.error());
  if (as_json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"ID", "STATE", "TO", "ATTEMPTS", "SINCE", "TEXT", "ERROR"}};
  for (const json::value& row : answer->at("outbox").as_array()) {
    rows.push_back({cell_of(row, "id"), cell_of(row, "state"),
                    cell_of(row, "channel") + ":" + cell_of(row, "conversation"), cell_of(row, "attempts"),
                    cell_of(row, "created_at"), cell_of(row, "text"), cell_of(row, "error")});
  }
  fmt::print("{}", rows.size() == 1 ? "Nothing is on its way.\n" : format_table(rows));
  return 0;
}

int change(const Context& context, const std::string& verb, std::int64_t id) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto answer = control_call(*paths, "POST", "/control/outbox/" + verb, {{"id", id}}, store_patience);
  return answer ? 0 : report(answer.error());
}

void add_change(CLI::App& parent, Context& context, const char* verb, const char* help) {
  CLI::App* command = parent.add_subcommand(verb, help);
  command->footer(fmt::format("Example:\n  talaria outbox {} 17", verb));
  auto id = std::make_shared<std::int64_t>(0);
  command->add_option("id", *id, "The row's number, from `talaria outbox list`")->required();
  command->callback([&context, id, verb = std::string(verb)] { context.exit_code = change(context, verb, *id); });
}

}  // namespace

void add_outbox_list(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("list", "List answers that are on their way or dead");
  command->footer("Example:\n  talaria outbox list --state dead");
  auto state = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("--state", *state, "Only this state")
      ->check(CLI::IsMember({"streaming", "pending", "sending", "sent", "unknown", "dead"}));
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, state, as_json] { context.exit_code = list_outbox(context, *state, *as_json); });
}

void add_outbox_retry(CLI::App& parent, Context& context) {
  add_change(parent, context, "retry", "Send a dead answer again");
}
void add_outbox_discard(CLI::App& parent, Context& context) {
  add_change(parent, context, "discard", "Forget a dead answer");
}

}  // namespace talaria::cli
