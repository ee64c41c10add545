// `talaria completion SHELL` writes down, for a shell, what can be typed: every command and option of the tree, so that
// the scripts can't fall behind the program.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <memory>

#include "cli/commands.h"
#include "cli/tree.h"

namespace talaria::cli {
namespace {

// One place on the command line: the words typed so far ("config get"), and what may follow.
struct Place {
  std::string path;
  struct Candidate {
    std::string word;
    std::string description;  // one line
  };
  std::vector<Candidate> commands;
  std::vector<Candidate> options;
};

std::string first_line(std::string text) { return text.substr(0, text.find('\n')); }

// Commands without a group are for units, not for people.
std::vector<CLI::App*> shown_children(CLI::App& app) {
  std::vector<CLI::App*> shown = children(app);
  std::erase_if(shown, [](const CLI::App* child) { return child->get_group().empty(); });
  return shown;
}

void collect(CLI::App& app, const std::string& path, std::vector<Place>& places) {
  Place place{path, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      place.options.push_back({"--" + name, first_line(option->get_description())});
    }
  }
  for (const CLI::App* child : shown_children(app))
    place.commands.push_back({child->get_name(), first_line(child->get_description())});
  // CLI11 knows nothing of a positional's values; completion's own are fixed.
  if (path == "completion") {
    for (const char* shell : {"bash", "zsh", "fish"}) place.commands.push_back({shell, "a shell"});
  }
  places.push_back(place);
  for (CLI::App* child : shown_children(app))
    collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), places);
}

std::vector<Place> all_places(CLI::App& root) {
  std::vector<Place> places;
  collect(root, "", places);
  return places;
}

std::string words(const Place& place, const Place& root) {
  std::vector<std::string> all;
  for (const auto& candidate : place.commands) all.push_back(candidate.word);
  for (const auto& candidate : place.options) all.push_back(candidate.word);
  if (&place != &root) all.insert(all.end(), {"--profile", "--system"});
  return fmt::format("{}", fmt::join(all, " "));
}

// 'it'\''s' : one word for a POSIX shell.
std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

// The words that were typed before the cursor, without options and the value of -p, name the place; a word that leads
// nowhere is an argument and ends the walk. bash and zsh share this.
std::string walk_function(const std::vector<Place>& places) {
  std::string out = "_talaria_words() {\n  case \"$1\" in\n";
  for (const Place& place : places) {
    out += fmt::format("    {}) echo {} ;;\n", shell_quoted(place.path), shell_quoted(words(place, places.front())));
  }
  out += "    *) return 1 ;;\n  esac\n}\n";
  out +=
      "_talaria_place() {\n"
      "  local place='' next word skip=''\n"
      "  for word in \"$@\"; do\n"
      "    if [ -n \"$skip\" ]; then skip=''; continue; fi\n"
      "    case \"$word\" in\n"
      "      -p|--profile) skip=1; continue ;;\n"
      "      -*) continue ;;\n"
      "    esac\n"
      "    next=\"${place:+$place }$word\"\n"
      "    _talaria_words \"$next\" >/dev/null || break\n"
      "    place=\"$next\"\n"
      "  done\n"
      "  echo \"$place\"\n"
      "}\n";
  return out;
}

std::string bash_script(const std::vector<Place>& places) {
  return "# bash completion for talaria\n" + walk_function(places) +
         "_talaria() {\n"
         "  local place\n"
         "  place=$(_talaria_place \"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n"
         "  COMPREPLY=($(compgen -W \"$(_talaria_words \"$place\")\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "}\n"
         "complete -o default -F _talaria talaria\n";
}

std::string zsh_script(const std::vector<Place>& places) {
  return "#compdef talaria\n" + walk_function(places) +
         "_talaria() {\n"
         "  local place\n"
         "  place=$(_talaria_place \"${(@)words[2,CURRENT-1]}\")\n"
         "  compadd -- ${=$(_talaria_words \"$place\")}\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _talaria ]; then _talaria \"$@\"; else compdef _talaria talaria; fi\n";
}

std::string fish_script(const std::vector<Place>& places) {
  std::string out =
      "# fish completion for talaria\n"
      "function __talaria_at\n"
      "    set -l typed\n"
      "    set -l skip 0\n"
      "    for word in (commandline -opc)[2..-1]\n"
      "        if test $skip = 1; set skip 0; continue; end\n"
      "        switch $word\n"
      "            case -p --profile; set skip 1\n"
      "            case '-*'\n"
      "            case '*'; set -a typed $word\n"
      "        end\n"
      "    end\n"
      "    test \"$typed\" = \"$argv\"\n"
      "end\n"
      "complete -c talaria -f\n"
      "complete -c talaria -s p -l profile -x -d 'Which gateway'\n"
      "complete -c talaria -l system -d \"The system's gateway\"\n";
  for (const Place& place : places) {
    const std::string at =
        fmt::format("complete -c talaria -n {}", shell_quoted(fmt::format("__talaria_at {}", place.path)));
    for (const auto& command : place.commands)
      out += fmt::format("{} -a {} -d {}\n", at, shell_quoted(command.word), shell_quoted(command.description));
    for (const auto& option : place.options) {
      if (option.word == "--profile" || option.word == "--system") continue;
      out += fmt::format("{} -l {} -d {}\n", at, shell_quoted(option.word.substr(2)), shell_quoted(option.description));
    }
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& parent, Context& context) {
  CLI::App* command = parent.add_subcommand("completion", "Print the completion script of a shell");
  command->footer("Example:\n  talaria completion bash > /etc/bash_completion.d/talaria");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([&parent, &context, shell] {
    const std::vector<Place> places = all_places(parent);
    const std::string script = *shell == "bash"  ? bash_script(places)
                               : *shell == "zsh" ? zsh_script(places)
                                                 : fish_script(places);
    fmt::print("{}", script);
    context.exit_code = 0;
  });
}

}  // namespace talaria::cli
