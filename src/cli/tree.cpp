#include "cli/tree.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>

#include "base/text.h"
#include "cli/commands.h"

namespace talaria::cli {
namespace {

CLI::App* child_named(CLI::App& app, std::string_view name) {
  for (CLI::App* child : children(app)) {
    if (child->get_name() == name) return child;
  }
  return nullptr;
}

void add_global_options(CLI::App& root, Context& context) {
  root.add_option_function<std::string>(
          "-p,--profile", [&context](const std::string& name) { context.profile = name; },
          "Which gateway: a name of [a-z0-9_-] (default: $TALARIA_PROFILE, else \"default\")")
      ->type_name("NAME")
      ->trigger_on_parse()
      ->check([](const std::string& name) {
        const Result<> good = check_profile_name(name);
        return good ? std::string{} : good.error().what;
      });
  root.add_flag("--system", context.system_scope, "The system's gateway rather than the user's");
}

// Every help ends with an example and with the options that may stand anywhere.
void finish_help(CLI::App& app) {
  for (CLI::App* child : children(app)) {
    finish_help(*child);
    child->footer(child->get_footer() + "\n\nAnywhere on the line: -p, --profile NAME; --system\n");
  }
}

// Where a word that names nothing here would be right: "gateway status" for "status".
std::optional<std::string> elsewhere(CLI::App& root, std::string_view word) {
  for (CLI::App* noun : children(root)) {
    if (child_named(*noun, word) != nullptr) return fmt::format("{} {}", noun->get_name(), word);
  }
  return std::nullopt;
}

Error unknown_word(CLI::App& root, CLI::App& app, std::string_view path, std::string_view word) {
  std::vector<std::string> names;
  for (CLI::App* child : children(app)) {
    if (!child->get_group().empty()) names.push_back(child->get_name());  // the others are for units
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  std::string what = fmt::format("unknown command \"{}\"", printable(truncate_utf8(word, 64)));
  if (&app != &root) what += fmt::format(" of \"{}\"", path);
  if (const auto near = nearest(word, views)) {
    what += fmt::format("; did you mean \"{} {}\"?", path, *near);
  } else if (const auto other = elsewhere(root, word)) {
    what += fmt::format("; did you mean \"{} {}\"?", root.get_name(), *other);
  } else {
    what += fmt::format("; there is {}", fmt::join(names, ", "));
  }
  return Error{ErrorKind::invalid, what};
}

}  // namespace

std::vector<CLI::App*> children(CLI::App& app) {
  return app.get_subcommands([](const CLI::App* child) { return !child->get_name().empty(); });
}

void build_tree(CLI::App& root, Context& context) {
  root.name("talaria");
  root.description("Talaria connects chats to agents.");
  root.fallthrough();
  root.set_version_flag("--version", "talaria " TALARIA_VERSION, "Print the version");
  add_global_options(root, context);
  for (const CommandEntry& entry : commands()) {
    CLI::App* parent = &root;
    if (*entry.noun != '\0') {
      parent = child_named(root, entry.noun);
      if (parent == nullptr) parent = root.add_subcommand(entry.noun);
    }
    entry.add(*parent, context);
  }
  for (const Noun& noun : nouns()) {
    CLI::App* app = child_named(root, noun.name);
    if (app == nullptr) continue;
    app->description(noun.description);
    app->require_subcommand(1);
    app->footer(fmt::format("Example:\n  {}", noun.example));
  }
  // At most one, too: CLI11 would otherwise take any later word that names *some* command for one (`config explain
  // gateway`).
  root.require_subcommand(1);
  finish_help(root);
  root.footer("Example:\n  talaria config check\n\n`talaria COMMAND --help` explains a command.\n");
}

Result<> check_words(CLI::App& root, std::span<const std::string> arguments) {
  CLI::App* app = &root;
  std::string path = root.get_name();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (children(*app).empty() || word == "--") return {};
    if (word == "-p" || word == "--profile") {
      ++i;  // its value is no command
      continue;
    }
    if (word.starts_with('-')) continue;
    CLI::App* child = child_named(*app, word);
    if (child == nullptr) return std::unexpected(unknown_word(root, *app, path, word));
    app = child;
    path += " " + word;
  }
  return {};
}

Result<std::string> implied_profile(std::string_view argv0, std::string_view executable) {
  if (const char* variable = std::getenv("TALARIA_PROFILE"); variable != nullptr && *variable != '\0') {
    if (const Result<> good = check_profile_name(variable); !good) {
      return fail(ErrorKind::invalid, "TALARIA_PROFILE: " + good.error().what);
    }
    return std::string(variable);
  }
  const auto last_part = [](std::string_view path) { return path.substr(path.rfind('/') + 1); };
  const std::string_view called = last_part(argv0);
  // A file that was renamed (talaria-debug) is no symlink, and "talaria" may well point to "talaria-0.1".
  if (executable.empty() || called == "talaria" || called == last_part(executable) || !check_profile_name(called)) {
    return std::string("default");
  }
  return std::string(called);
}

}  // namespace talaria::cli
