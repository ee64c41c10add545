// `talaria man` writes the manual page from the tree of commands, so that it can't fall behind the program:
//   talaria man > talaria.1 && man ./talaria.1
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/tree.h"

namespace talaria::cli {
namespace {

// Text for roff(7): backslashes and a leading dot or quote mean something there.
std::string roff(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_start = c == '\n';
  }
  return out;
}

void write_options(const CLI::App& app, std::string& out) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames() == std::vector<std::string>{"help"}) continue;
    out += fmt::format(".TP\n.B {}\n{}\n", roff(option->get_name(false, true)), roff(option->get_description()));
  }
}

void write_command(CLI::App& app, const std::string& path, std::string& out) {
  out += fmt::format(".SS {}\n{}\n", roff(path), roff(app.get_description()));
  write_options(app, out);
  if (const std::string footer = app.get_footer(); !footer.empty()) {
    out += fmt::format(".PP\n.nf\n{}\n.fi\n", roff(footer));
  }
  for (CLI::App* child : children(app)) {
    if (!child->get_group().empty()) write_command(*child, path + " " + child->get_name(), out);
  }
}

std::string manual(CLI::App& root) {
  std::string out = fmt::format(".TH TALARIA 1 \"\" \"talaria {}\" \"User Commands\"\n", TALARIA_VERSION);
  out += ".SH NAME\ntalaria \\- a gateway between chats and agents\n";
  out += ".SH SYNOPSIS\n.B talaria\n[\\-p PROFILE] [\\-\\-system] COMMAND \\&...\n.SH OPTIONS\n";
  write_options(root, out);
  out += ".SH COMMANDS\n";
  for (CLI::App* child : children(root)) {
    if (!child->get_group().empty()) write_command(*child, child->get_name(), out);
  }
  out +=
      ".SH EXIT STATUS\n"
      ".TP\n.B 0\nplanned end, success\n.TP\n.B 1\nunplanned end, failure\n.TP\n.B 64\nwrong command line\n"
      ".TP\n.B 73\nanother process runs this profile\n"
      ".TP\n.B 74\nwhat was asked for may have been done, or will be\n.TP\n.B 75\ntry again, start me again\n"
      ".TP\n.B 77\nno permission\n.TP\n.B 78\nthe configuration is wrong\n";
  return out;
}

}  // namespace

void add_man(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("man", "Write the manual page");
  command->footer("Example:\n  talaria man > talaria.1 && man ./talaria.1");
  command->callback([&parent, &context] {
    fmt::print("{}", manual(parent));
    context.exit_code = 0;
  });
}

}  // namespace talaria::cli
