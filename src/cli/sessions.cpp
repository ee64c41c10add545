// `talaria sessions`: the conversations that the gateway remembers.
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

std::string string_of(const json::value& row, const char* key) { return std::string(row.at(key).as_string()); }

// A session key in a query: keys hold only unreserved characters, '/' and '%'.
std::string escape(std::string_view key) {
  std::string out;
  for (const char c : key) out += c == '%' ? std::string("%25") : std::string(1, c);
  return out;
}

int list_sessions(const Context& context, bool as_json) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto answer = control_call(*paths, "GET", "/control/sessions", {}, store_patience);
  if (!answer) return report(answer.error());
  if (as_json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"SESSION", "AGENT", "TURNS", "LAST"}};
  for (const json::value& row : answer->at("sessions").as_array()) {
    rows.push_back(
        {string_of(row, "key"), string_of(row, "agent"), json::serialize(row.at("turns")), string_of(row, "last_at")});
  }
  fmt::print("{}", rows.size() == 1 ? "There are no sessions yet.\n" : format_table(rows));
  return 0;
}

int show(const Context& context, const std::string& key, bool as_json, bool markdown) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto answer = control_call(*paths, "GET", "/control/session?n=10000&key=" + escape(key), {}, store_patience);
  if (!answer) return report(answer.error());
  if (as_json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  for (const json::value& turn : answer->at("turns").as_array()) {
    // An export is a document as it was written; a screen gets no control characters.
    const auto shown = [&](const char* name) {
      return markdown ? string_of(turn, name) : printable(string_of(turn, name));
    };
    fmt::print("{}{} ({})\n{}\n\n", markdown ? "## " : "", string_of(turn, "queued_at"), string_of(turn, "state"),
               shown("prompt"));
    fmt::print("{}{}\n\n", markdown ? "> " : "→ ", shown("answer"));
  }
  return 0;
}

int reset(const Context& context, const std::string& key) {
  auto paths = context.paths();
  if (!paths) return report(paths.error());
  auto answer = control_call(*paths, "POST", "/control/session/reset", {{"key", key}}, store_patience);
  return answer ? 0 : report(answer.error());
}

}  // namespace

void add_sessions_list(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("list", "List sessions, most recently used first");
  command->footer("Example:\n  talaria sessions list --json");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, as_json] { context.exit_code = list_sessions(context, *as_json); });
}

void add_sessions_show(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("show", "Show a session's turns");
  command->footer("Example:\n  talaria sessions show direct/libera/alice");
  auto key = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>(false);
  command->add_option("session", *key, "The key, from `talaria sessions list`")->required();
  command->add_flag("--json", *as_json, "Print one JSON document");
  command->callback([&context, key, as_json] { context.exit_code = show(context, *key, *as_json, false); });
}

void add_sessions_export(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("export", "Write a session as Markdown to standard output");
  command->footer("Example:\n  talaria sessions export direct/libera/alice > alice.md");
  auto key = std::make_shared<std::string>();
  command->add_option("session", *key, "The key, from `talaria sessions list`")->required();
  command->callback([&context, key] { context.exit_code = show(context, *key, false, true); });
}

void add_sessions_reset(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("reset", "Make the agent forget a session");
  command->footer("Example:\n  talaria sessions reset direct/libera/alice");
  auto key = std::make_shared<std::string>();
  command->add_option("session", *key, "The key, from `talaria sessions list`")->required();
  command->callback([&context, key] { context.exit_code = reset(context, *key); });
}

}  // namespace talaria::cli
