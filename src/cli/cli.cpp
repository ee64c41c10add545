// From argv to an exit code: profile, command, its callback; wrong command lines exit 64 and say what would have been
// right.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/say.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/tree.h"
#include "lifecycle/exit_code.h"

namespace talaria::cli {
namespace {

constexpr int usage_error = static_cast<int>(ExitCode::usage);

int say_usage_error(const CLI::App& app, std::string_view what, std::string_view path) {
  say("{}: {}\nTry: {} --help\n", app.get_name(), what, path);
  return usage_error;
}

// The command that was named on the line, as far as it was understood, with the words that lead to it.
std::pair<CLI::App*, std::string> deepest(CLI::App& root) {
  CLI::App* app = &root;
  std::string path = root.get_name();
  while (!app->get_subcommands().empty()) {
    app = app->get_subcommands().front();
    path += " " + app->get_name();
  }
  return {app, path};
}

// "unknown option --jsno; did you mean --json?"
std::string describe_extras(const std::vector<std::string>& extras, const CLI::App& app, const CLI::App& root) {
  const std::string& first = extras.front();
  if (!first.starts_with('-')) {
    return fmt::format("unexpected argument \"{}\"", printable(truncate_utf8(first, 64)));
  }
  std::vector<std::string> names;
  for (const CLI::App* holder : {&app, &root}) {
    for (const CLI::Option* option : holder->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string typed = first.substr(0, first.find('='));
  std::string what = fmt::format("unknown option {}", printable(truncate_utf8(typed, 64)));
  if (const auto near = nearest(typed, views)) what += fmt::format("; did you mean {}?", *near);
  return what;
}

int explain_parse_error(CLI::App& root, const CLI::ParseError& error) {
  const auto [app, path] = deepest(root);
  if (dynamic_cast<const CLI::CallForHelp*>(&error) != nullptr ||
      dynamic_cast<const CLI::CallForAllHelp*>(&error) != nullptr) {
    fmt::print("{}", root.help());
    return 0;
  }
  if (dynamic_cast<const CLI::CallForVersion*>(&error) != nullptr) {
    fmt::print("{}\n", error.what());
    return 0;
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !children(*app).empty()) {
    say("{}", root.help());
    return usage_error;
  }
  if (const std::vector<std::string> extras = root.remaining(true); !extras.empty()) {
    return say_usage_error(root, describe_extras(extras, *app, root), path);
  }
  return say_usage_error(root, printable(error.what()), path);
}

std::string own_executable() {
  std::error_code ignored;  // no /proc: the name that we were called by says nothing then
  return std::filesystem::read_symlink("/proc/self/exe", ignored).string();
}

// Says that standard output was not taken, except to those who closed it because they had read enough (`| head`).
// `error` is an errno, 0 when it is no longer known.
int lost_output(int error) {
  pollfd output{STDOUT_FILENO, 0, 0};
  const bool reader_gone = error == EPIPE || (::poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0);
  if (!reader_gone)
    say("talaria: standard output could not be written{}{}\n", error == 0 ? "" : ": ",
        error == 0 ? "" : std::generic_category().message(error));
  return static_cast<int>(ExitCode::unplanned);
}

int parse_and_run(Context& context, std::vector<std::string> arguments) {
  CLI::App root;
  build_tree(root, context);
  if (const Result<> named = check_words(root, arguments); !named) {
    return say_usage_error(root, named.error().what, root.get_name());
  }
  try {
    std::ranges::reverse(arguments);  // CLI11 takes them from the back
    root.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    return explain_parse_error(root, error);
  }
  return context.exit_code;
}

}  // namespace

bool colour() {
  const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org: set and not empty
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
}

int report(const Error& error) {
  say("talaria: {}\n", error.what);
  switch (error.kind) {
    case ErrorKind::invalid: return static_cast<int>(ExitCode::usage);
    case ErrorKind::permission: return static_cast<int>(ExitCode::permission);
    case ErrorKind::conflict: return static_cast<int>(ExitCode::owned);
    case ErrorKind::unavailable:
    case ErrorKind::timeout: return static_cast<int>(ExitCode::again);
    case ErrorKind::not_found:
    case ErrorKind::limit:
    case ErrorKind::cancelled:
    case ErrorKind::internal: break;
  }
  return static_cast<int>(ExitCode::unplanned);
}

int run(int argc, char** argv) {
  Context context;
  context.program = argc > 0 ? argv[0] : "talaria";
  const Result<std::string> profile = implied_profile(context.program, own_executable());
  if (!profile) return report(profile.error());
  context.profile = *profile;
  int code = 0;
  try {
    code = parse_and_run(context, std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (const std::system_error& error) {
    // fmt::print() throws when more than a buffer's worth can't be written.
    if (std::ferror(stdout) != 0) return lost_output(error.code().value());
    say("talaria: {}\n", error.what());
    return static_cast<int>(ExitCode::unplanned);
  }
  // What was printed may still be in the buffer: a full disk behind `> file` must not look like success.
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    const int lost = lost_output(errno);
    if (code == 0) code = lost;
  }
  return code;
}

}  // namespace talaria::cli
