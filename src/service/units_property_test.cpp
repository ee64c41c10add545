// Whatever program a unit is written for, systemd executes exactly that, with exactly our arguments: what is rendered
// is read back by the rules of systemd.service(5), "Command lines", and systemd.syntax(7), "Quoting", which are written
// down here a second time, from the manual pages.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "service/units.h"

namespace talaria {
namespace {

// One argument vector of an Exec…= value, and the prefixes of the first word.
struct Executed {
  std::string prefixes;
  std::vector<std::string> words;
};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Words are separated by white space; quotes group where a word begins; C escapes are resolved.
std::vector<std::string> split_words(const std::string& line) {
  std::vector<std::string> words;
  std::size_t i = 0;
  while (i < line.size()) {
    if (line[i] == ' ' || line[i] == '\t') {
      ++i;
      continue;
    }
    std::string word;
    char quote = '\0';
    for (; i < line.size(); ++i) {
      const char c = line[i];
      if (c == '\\') {
        const char kind = i + 1 < line.size() ? line[i + 1] : '\0';
        if (kind == '\\') {
          word += line[++i];
          continue;
        }
        RC_ASSERT(kind == 'x');  // the only other escape that we write
        RC_ASSERT(i + 3 < line.size());
        word += static_cast<char>(hex_digit(line[i + 2]) * 16 + hex_digit(line[i + 3]));
        i += 3;
      } else if (quote != '\0') {
        if (c == quote)
          quote = '\0';
        else
          word += c;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == ' ' || c == '\t') {
        break;
      } else {
        word += c;
      }
    }
    words.push_back(word);
  }
  return words;
}

// Specifiers: %i is the instance, %% a percent sign; we write no other.
std::string expand(const std::string& word, const std::string& instance) {
  std::string out;
  for (std::size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '%') {
      out += word[i];
      continue;
    }
    RC_ASSERT(++i < word.size());
    RC_ASSERT(word[i] == 'i' || word[i] == '%');
    out += word[i] == 'i' ? instance : "%";
  }
  return out;
}

Executed execute(const std::string& value, const std::string& instance) {
  Executed found;
  for (const auto& word : split_words(value)) found.words.push_back(expand(word, instance));
  RC_ASSERT(!found.words.empty());
  auto& first = found.words.front();
  while (!first.empty() && std::string_view("@-:+!").contains(first.front())) {
    found.prefixes += first.front();
    first.erase(0, 1);
  }
  // Without ':', $NAME is replaced by the environment in every word.
  if (!found.prefixes.contains(':'))
    for (const auto& word : found.words) RC_ASSERT(!word.contains('$'));
  return found;
}

std::map<std::string, std::string> exec_lines(const std::string& unit) {
  std::map<std::string, std::string> lines;
  std::size_t at = 0;
  while (at < unit.size()) {
    const auto end = std::min(unit.find('\n', at), unit.size());
    const auto line = unit.substr(at, end - at);
    at = end + 1;
    // A value that ends in a backslash goes on in the next line.
    RC_ASSERT(!line.ends_with('\\'));
    if (!line.starts_with("Exec")) continue;
    const auto equals = line.find('=');
    RC_ASSERT(lines.emplace(line.substr(0, equals), line.substr(equals + 1)).second);
  }
  return lines;
}

rc::Gen<std::string> paths() {
  // Pieces that systemd, a shell or a careless printf() would read, and pieces that only look odd.
  const auto odd = rc::gen::element<std::string>("opt", "my program", "100%", "%i", "%%", "$HOME", "${X}", "ä", "日本",
                                                 "a;b", "#", "-x", "@", ":", "!", "+", "=", "[Service]", "~", "*",
                                                 "(1)", "&", "|", "<>", "\xc2\xa0", "😀", " ", "  ", "end ");
  const auto refused = rc::gen::element<std::string>("'", "\"", "\\", "\\x41", "\t", "\n", "\x7f", "\xff");
  const auto piece = rc::gen::weightedOneOf<std::string>({{40, odd}, {1, refused}});
  return rc::gen::map(rc::gen::resize(20, rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(piece))),
                      [](const std::vector<std::string>& pieces) {
                        std::string path;
                        for (std::size_t i = 0; i < pieces.size(); ++i) path += (i % 2 == 0 ? "/" : "") + pieces[i];
                        return path + "/talaria";
                      });
}

bool systemd_takes(const std::string& path) {
  for (const char* refused : {"'", "\"", "\\", "\t", "\n", "\x7f", "\xff"})
    if (path.contains(refused)) return false;
  return true;
}

// What a shell executes whose script (and that of the one that it executes) ends in "$@": its arguments, so that it
// reads none of them itself.
std::vector<std::string> by_shell(const std::vector<std::string>& words) {
  RC_ASSERT(words.size() > 4u);
  RC_ASSERT(words[0] == "/bin/sh" && words[1] == "-c" && words[2].ends_with(" \"$@\""));
  RC_ASSERT(words[3] == "sh" || (words[2].ends_with(" /bin/sh -c \"$0\" sh \"$@\"") && words[3].ends_with(" \"$@\"")));
  return {words.begin() + 4, words.end()};
}

RC_GTEST_PROP(RenderedUnit, ExecutesThisProgramWithTheseWords, ()) {
  const auto path = *paths();
  const auto scope = *rc::gen::element(UnitScope::system, UnitScope::user);
  const auto version = *rc::gen::inRange(252, 262);
  const auto profile = *rc::gen::element<std::string>("default", "a", "my-work_2");
  const auto unit = render_unit({scope, path, version});
  RC_CLASSIFY(unit.has_value(), "rendered");
  RC_ASSERT(unit.has_value() == systemd_takes(path));
  if (!unit) {
    RC_ASSERT(unit.error().what.contains("/usr/local/bin"));  // the remedy
    return;
  }
  RC_ASSERT(*unit == *render_unit({scope, path, version}));
  RC_ASSERT(is_our_file(*unit));
  const std::map<std::string, std::string> verbs{
      {"ExecStart", "run"}, {"ExecReload", "reload"}, {"ExecStop", "announce-stop"}, {"ExecStopPost", "record-exit"}};
  const auto lines = exec_lines(*unit);
  RC_ASSERT(lines.size() == verbs.size());
  for (const auto& [key, value] : lines) {
    const auto executed = execute(value, profile);
    std::vector<std::string> wanted{path};
    if (scope == UnitScope::system) wanted.emplace_back("--system");
    for (const auto& word : {std::string("-p"), profile, std::string("gateway"), verbs.at(key)}) wanted.push_back(word);
    RC_ASSERT((key == "ExecStopPost" ? by_shell(executed.words) : executed.words) == wanted);
    // Only what is told besides may fail without consequences.
    RC_ASSERT(executed.prefixes.contains('-') == (key == "ExecStop" || key == "ExecStopPost"));
  }
}

RC_GTEST_PROP(RenderedUnit, ADropInNamesTheUserOrIsRefused, (const std::string& any)) {
  const auto name =
      *rc::gen::oneOf(rc::gen::just(any), rc::gen::element<std::string>("alice", "_svc", "a-b_9", "x\nUser=root"));
  const auto text = render_user_drop_in(name);
  if (!text) return;
  RC_ASSERT(text->contains("\nUser=" + name + "\n"));
  RC_ASSERT(!name.contains('\n') && !name.contains('%') && !name.contains(' '));
}

}  // namespace
}  // namespace talaria
