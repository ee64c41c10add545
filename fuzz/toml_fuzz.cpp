// Configuration from arbitrary bytes: no crash, no hang, no deep stack. Every mistake has a place that exists and a
// message that fits one line of a terminal. What loads is whole: its values, written down again, load as the same
// values.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/loading.h"
#include "config/schema.h"

namespace {

using namespace talaria;

void require(bool holds, std::string_view what) {
  if (holds) return;
  fmt::print(stderr, "broken: {}\n", what);
  std::abort();
}

void check_diagnostic(const Diagnostic& diagnostic, int lines) {
  require(diagnostic.line >= 0 && diagnostic.line <= lines, "the line exists");
  require(diagnostic.line > 0 ? diagnostic.column > 0 : diagnostic.column == 0, "the column belongs to the line");
  require(!diagnostic.message.empty(), "there is a message");
  const std::string shown = to_string(diagnostic);
  require(std::ranges::none_of(shown, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }),
          "the message fits one line");
}

std::string written_table(Config& config, std::string_view table, const std::string& header,
                          const std::string& instance, std::string_view kind) {
  std::string out = fmt::format("[{}]\n", header);
  for (const Field& field : all_fields()) {
    if (field.table != table || !applies_to(field, kind)) continue;
    const std::string value = render_toml(*slot_of(config, {&field, instance}));
    if (!value.empty() && value != "\"\"") out += fmt::format("{} = {}\n", field.name, value);
  }
  return out;
}

std::string written(Config& config) {
  std::string out;
  for (const char* table : {"gateway", "store", "api"}) out += written_table(config, table, table, "", "");
  for (const auto& [name, agent] : config.agents)
    out += written_table(config, "agent.*", "agent." + name, name, agent.kind);
  for (const auto& [name, channel] : config.channels)
    out += written_table(config, "channel.*", "channel." + name, name, channel.kind);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  LoadOutcome outcome = load_config_text(text, "fuzz.toml");
  const int lines = 1 + static_cast<int>(std::ranges::count(text, '\n'));
  for (const Diagnostic& diagnostic : outcome.diagnostics) check_diagnostic(diagnostic, lines);
  if (!outcome.ok()) return 0;
  const std::string once = written(outcome.config);
  LoadOutcome again = load_config_text(once, "written.toml");
  require(again.ok(), again.ok() ? "" : "what loads, loads again: " + to_string(again.diagnostics.front()));
  require(written(again.config) == once, "values survive being written down");
  return 0;
}
