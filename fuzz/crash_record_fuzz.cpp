// The crash log and the log of exits from a hostile hand: no crash, and no text that would steer a terminal.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "lifecycle/run_ledger.h"

using namespace talaria;

namespace {

void check_text(std::string_view text) {
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; })) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Testimony testimony{.exits = parse_exit_log(text), .crashes = parse_crash_log(text)};
  for (const CrashRecord& record : testimony.crashes) {
    check_text(describe(record));
    if (record.stack.size() > max_stack_lines) std::abort();
    for (const std::string& line : record.stack) check_text(line);
  }
  const Settling settling{.boot_id = "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab", .alive = {}, .now = 1, .oldest = 0};
  for (const RunRow& run : settle({}, testimony, settling)) {
    check_text(run.cause);
    if (run.verdict.empty()) std::abort();
    if (format_told_end(run).find('\n') + 1 != format_told_end(run).size()) std::abort();
  }
  return 0;
}
