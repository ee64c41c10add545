// The examples that operators copy must load, and every key must be shown in one of them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "config/loading.h"
#include "config/schema.h"

namespace talaria {
namespace {

struct Example {
  int line = 0;  // of the document
  std::string text;
};

// The checkout is above the build directory; __FILE__ won't do, a compiler cache may have made it relative.
std::filesystem::path document(const char* name) {
  std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  while (!std::filesystem::exists(folder / "docs" / name) && folder != folder.root_path())
    folder = folder.parent_path();
  return folder / "docs" / name;
}

std::vector<Example> examples(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<Example> found;
  std::string line;
  bool inside = false;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line == "```toml") {
      inside = true;
      found.push_back({number, ""});
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      found.back().text += line + "\n";
    }
  }
  return found;
}

// Excerpts without an agent are completed by one; everything else must be right as it stands.
void expect_loads(const std::filesystem::path& path, const Example& example) {
  const bool excerpt = example.text.find("[agent.") == std::string::npos;
  const std::string text = excerpt ? example.text + "[agent.default]\nkind = \"echo\"\n" : example.text;
  for (const Diagnostic& diagnostic : load_config_text(text, "example").diagnostics) {
    ADD_FAILURE() << path << ":" << example.line << ": " << to_string(diagnostic);
  }
}

TEST(Documentation, ItsExamplesLoad) {
  for (const char* name :
       {"configuration.md", "operating.md", "email.md", "telegram.md", "webhooks.md", "channel-programs.md"}) {
    const auto found = examples(document(name));
    EXPECT_THAT(found, testing::Not(testing::IsEmpty())) << name;
    for (const Example& example : found) expect_loads(name, example);
  }
}

TEST(Documentation, ShowsEveryKey) {
  std::set<std::string> shown;
  for (const Example& example : examples(document("configuration.md"))) {
    for (const auto& [key, line] : load_config_text(example.text, "example").lines) {
      const auto path = find_key(key);
      ASSERT_TRUE(path) << key;
      shown.insert(fmt::format("{}.{}", path->field->table, path->field->name));
    }
  }
  for (const Field& field : all_fields()) {
    EXPECT_THAT(shown, testing::Contains(fmt::format("{}.{}", field.table, field.name)));
  }
}

// The block of [gateway] says that it shows the defaults.
TEST(Documentation, ShowsTheDefaultsOfTheGateway) {
  for (const Example& example : examples(document("configuration.md"))) {
    if (!example.text.starts_with("[gateway]")) continue;
    LoadOutcome outcome = load_config_text(example.text, "example");
    for (const Field& field : all_fields()) {
      if (field.table != "gateway") continue;
      EXPECT_EQ(render_toml(*slot_of(outcome.config, {&field, ""})), render_default(field)) << field.name;
    }
    return;
  }
  ADD_FAILURE() << "there is no example of [gateway]";
}

}  // namespace
}  // namespace talaria
