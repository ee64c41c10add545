#include "cli/tree.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/commands.h"
#include "config/environment_test_support.h"

namespace talaria::cli {
namespace {

using testing::HasSubstr;

class Tree : public testing::Test {
 protected:
  Tree() { build_tree(root_, context_); }
  std::string complaint(const std::vector<std::string>& words) {
    const Result<> named = check_words(root_, words);
    return named ? "" : named.error().what;
  }
  Context context_;
  CLI::App root_;
};

void for_each_command(CLI::App& app, const std::string& path,
                      const std::function<void(CLI::App&, const std::string&)>& visit) {
  for (CLI::App* child : children(app)) {
    const std::string below = path + " " + child->get_name();
    visit(*child, below);
    for_each_command(*child, below, visit);
  }
}

TEST_F(Tree, EveryCommandHasADescriptionAndAnExample) {
  for_each_command(root_, "talaria", [](CLI::App& app, const std::string& path) {
    EXPECT_FALSE(app.get_description().empty()) << path;
    if (!children(app).empty() || app.get_group().empty()) return;  // without a group: for units, hidden
    EXPECT_THAT(app.help(), HasSubstr("Example")) << path;
    EXPECT_THAT(app.help(), testing::ContainsRegex("Example[^\n]*\n  .*talaria.*" +
                                                   path.substr(std::string_view("talaria").size())))
        << path;
    EXPECT_THAT(app.help(), HasSubstr("--profile")) << path;
  });
}

TEST_F(Tree, EveryNounOfTheTableIsDescribed) {
  for (const CommandEntry& entry : commands()) {
    if (*entry.noun == '\0') continue;
    EXPECT_TRUE(std::ranges::any_of(nouns(), [&](const Noun& noun) {
      return std::string_view(noun.name) == entry.noun;
    })) << entry.noun;
  }
}

TEST_F(Tree, UnknownWordsAreGuessed) {
  EXPECT_EQ(complaint({"confg", "check"}), "unknown command \"confg\"; did you mean \"talaria config\"?");
  EXPECT_EQ(complaint({"config", "chekc"}),
            "unknown command \"chekc\" of \"talaria config\"; did you mean \"talaria config check\"?");
  EXPECT_EQ(complaint({"explain"}), "unknown command \"explain\"; did you mean \"talaria config explain\"?");
  EXPECT_THAT(complaint({"xyzzy"}), HasSubstr("there is gateway, "));
  EXPECT_THAT(complaint({"\x1b[31m"}), HasSubstr("\\x1b[31m"));
}

TEST_F(Tree, OptionsAndTheirValuesAreNoCommands) {
  EXPECT_EQ(complaint({"-p", "chekc", "config", "--profile", "nonsense", "check", "more"}), "");
  EXPECT_EQ(complaint({"--system", "config", "--json", "get", "config"}), "");
  EXPECT_EQ(complaint({"--help"}), "");
  EXPECT_EQ(complaint({}), "");
}

TEST(ImpliedProfile, ComesFromVariableThenSymlinkThenDefault) {
  EnvironmentGuard environment;
  environment.set("TALARIA_PROFILE", std::nullopt);
  EXPECT_EQ(implied_profile("/usr/bin/talaria", "/usr/bin/talaria"), "default");
  EXPECT_EQ(implied_profile("coder", "/usr/bin/talaria"), "coder");
  EXPECT_EQ(implied_profile("/home/ann/bin/coder", "/usr/bin/talaria"), "coder");
  EXPECT_EQ(implied_profile("talaria", "/usr/bin/talaria-0.1"), "default");
  EXPECT_EQ(implied_profile("/opt/talaria-debug", "/opt/talaria-debug"), "default") << "a renamed file is no symlink";
  EXPECT_EQ(implied_profile("-Bad Name", "/usr/bin/talaria"), "default");
  EXPECT_EQ(implied_profile("coder", ""), "default") << "without /proc nothing is known";
  environment.set("TALARIA_PROFILE", "work");
  EXPECT_EQ(implied_profile("coder", "/usr/bin/talaria"), "work");
  environment.set("TALARIA_PROFILE", "");
  EXPECT_EQ(implied_profile("coder", "/usr/bin/talaria"), "coder");
  environment.set("TALARIA_PROFILE", "../x");
  EXPECT_THAT(implied_profile("coder", "/usr/bin/talaria").error().what, HasSubstr("TALARIA_PROFILE"));
}

}  // namespace
}  // namespace talaria::cli
