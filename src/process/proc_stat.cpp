// /proc as a source of facts (proc(5)). The second field of /proc/PID/stat is the process's name in parentheses, up to
// 15 bytes that the process chose itself: blanks, parentheses, newlines, a whole fake line. Only the last ')' of the
// text is the kernel's, because nothing after it is text. Everything is counted from there.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "process/identity.h"
#include "process/small_file.h"

namespace talaria {

namespace {

// Fields are counted as proc(5) does: state is 3, the parent's PID 4, the start time 22.
std::string_view field(std::string_view after_name, int number) {
  for (int at = 3;; ++at) {
    const auto begin = after_name.find_first_not_of(' ');
    if (begin == std::string_view::npos) return {};
    after_name.remove_prefix(begin);
    const auto end = std::min(after_name.find_first_of(" \n"), after_name.size());
    if (at == number) return after_name.substr(0, end);
    after_name.remove_prefix(end);
  }
}

template <class T>
bool number(std::string_view text, T& value) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && ec == std::errc{} && end == text.data() + text.size();
}

// The rest of the line that begins with `key`.
std::string_view line_after(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (text.starts_with(key)) return text.substr(key.size(), end - key.size());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return {};
}

std::string read_command_line(const std::string& directory) {
  // The arguments may be megabytes long and change while they are read: the beginning is enough.
  constexpr std::size_t shown = 512;
  auto text = read_beginning(directory + "/cmdline", shown);
  if (!text) return {};
  while (text->ends_with('\0')) text->pop_back();
  std::ranges::replace(*text, '\0', ' ');
  return truncate_utf8(printable(*text), shown);
}

}  // namespace

Result<ProcessFacts> parse_proc_stat(std::string_view text) {
  const auto bad = [](std::string_view why) {
    return fail(ErrorKind::invalid, fmt::format("no line of /proc/PID/stat: {}", why));
  };
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open || open < 2)
    return bad("there is no name in parentheses");
  ProcessFacts facts;
  if (text[open - 1] != ' ' || !number(text.substr(0, open - 1), facts.pid) || facts.pid < 1)
    return bad("the PID is no number");
  facts.comm = text.substr(open + 1, close - open - 1);
  const std::string_view rest = text.substr(close + 1);
  const std::string_view state = field(rest, 3);
  if (state.size() != 1) return bad("the state is no letter");
  facts.state = state[0];
  if (!number(field(rest, 4), facts.parent) || facts.parent < 0) return bad("the parent's PID is no number");
  if (!number(field(rest, 5), facts.group)) return bad("the process group is no number");
  // The next field too: a line that ends within the start time would give another one.
  if (!number(field(rest, 22), facts.start_time) || field(rest, 23).empty()) return bad("the start time is no number");
  return facts;
}

Result<ProcessFacts> facts_of(pid_t pid) {
  const std::string directory = fmt::format("/proc/{}", pid);
  const auto gone = [&] { return fail(ErrorKind::not_found, fmt::format("there is no process {}", pid)); };
  if (pid <= 0) return gone();
  const auto stat = read_small_file(directory + "/stat", max_proc_stat);
  if (!stat)
    return stat.error().kind == ErrorKind::not_found ? Result<ProcessFacts>(gone()) : std::unexpected(stat.error());
  auto facts = parse_proc_stat(*stat);
  if (!facts) return facts;
  facts->comm = printable(facts->comm);
  facts->command_line = read_command_line(directory);
  if (const auto status = read_small_file(directory + "/status", 64 * 1024)) {
    // "Uid:\treal\teffective\tsaved\tfilesystem"
    std::string_view uid = line_after(*status, "Uid:\t");
    if (!number(uid.substr(0, uid.find('\t')), facts->uid)) facts->uid = -1;
  }
  if (const auto groups = read_small_file(directory + "/cgroup", 64 * 1024))
    facts->cgroup = printable(line_after(*groups, "0::"));
  return facts;
}

}  // namespace talaria
