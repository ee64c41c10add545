#include "lifecycle/crash_record.h"

#include <fmt/format.h>

#include <charconv>
#include <csignal>

#include "base/text.h"

namespace talaria {
namespace {

constexpr std::size_t longest_words = 256;

std::string_view take_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

template <class Number>
Number number_of(std::string_view text, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size() ? value : Number{};
}

std::string words(std::string_view text) {
  return truncate_utf8(printable(text.substr(0, longest_words)), longest_words);
}

void take_field(CrashRecord& record, std::string_view key, std::string_view value) {
  if (key == "type") record.type = words(value);
  if (key == "incarnation") {
    if (auto who = parse_incarnation(value)) record.who = std::move(*who);
  }
  if (key == "invocation") record.invocation_id = words(value);
  if (key == "version") record.version = words(value);
  if (key == "at") record.at = number_of<UnixMillis>(value);
  if (key == "signal") record.signal = number_of<int>(value);
  if (key == "code") record.code = number_of<int>(value);
  if (key == "address") record.address = number_of<std::uint64_t>(value, 16);
  if (key == "sender") record.sender = number_of<int>(value);
  if (key == "thread") record.thread = number_of<int>(value);
  if (key == "name") record.thread_name = words(value);
  if (key == "verdict") record.verdict = words(value);
  if (key == "cause") record.cause = words(value);
  if (key == "exit-code") record.exit_code = number_of<int>(value);
  if (key == "reason") record.reason = words(value);
}

// The lines after the mark, up to the end or to the next record's mark.
CrashRecord parse_one(std::string_view& text) {
  CrashRecord record;
  bool in_stack = false;
  while (!text.empty() && !text.starts_with(crash_mark)) {
    const std::string_view line = take_line(text);
    if (line == crash_end) {
      record.complete = true;
      break;
    }
    if (in_stack) {
      if (record.stack.size() == max_stack_lines) record.stack.erase(record.stack.begin());
      record.stack.push_back(words(line));
    } else if (line == "stacks") {
      in_stack = true;
    } else if (const auto blank = line.find(' '); blank != std::string_view::npos) {
      take_field(record, line.substr(0, blank), line.substr(blank + 1));
    }
  }
  return record;
}

}  // namespace

std::vector<CrashRecord> parse_crash_log(std::string_view text) {
  std::vector<CrashRecord> records;
  while (!text.empty()) {
    if (take_line(text) != crash_mark) continue;
    CrashRecord record = parse_one(text);
    if (record.who.pid > 0 && !record.type.empty()) records.push_back(std::move(record));
  }
  return records;
}

std::string signal_name(int number) {
  const char* name = sigabbrev_np(number);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

std::string describe(const CrashRecord& record) {
  const std::string reason = record.reason.empty() ? "" : ": " + record.reason;
  if (record.type != "signal") return fmt::format("{}{}", record.type, reason);
  // A fault has an address, a signal that was sent has a sender (sigaction(2): si_code above 0 is the kernel's).
  const std::string where = record.code > 0     ? fmt::format(" at address {:#x}", record.address)
                            : record.sender > 0 ? fmt::format(" sent by PID {}", record.sender)
                                                : "";
  return fmt::format("{}{} in thread \"{}\"{}", signal_name(record.signal), where, record.thread_name, reason);
}

}  // namespace talaria
