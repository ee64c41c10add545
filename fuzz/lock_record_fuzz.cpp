// The lock file's text from a hostile hand: no crash, no text that would steer a terminal, and what was read can be
// written and read again.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "process/instance_lock.h"

using namespace talaria;

namespace {

void check_text(std::string_view text) {
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; })) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto record = parse_lock_record(text);
  if (!record) {
    check_text(record.error().what);
    // What was refused is still text that may stand in a record of ours.
    LockRecord ours{{1, 1, "6f1d2c3b-0a9e-4b5f-8c7d-1234567890ab"},
                    "none",
                    std::string(text),
                    std::string(text),
                    std::string(text),
                    0};
    const auto again = parse_lock_record(format_lock_record(ours));
    if (!again) std::abort();
    ours = *again;
    if (parse_lock_record(format_lock_record(ours)) != ours) std::abort();
    return 0;
  }
  for (const auto* part : {&record->scope, &record->unit, &record->version, &record->control_socket}) check_text(*part);
  if (record->incarnation.pid < 1 || record->since < 0) std::abort();
  if (parse_lock_record(format_lock_record(*record)) != *record) std::abort();
  return 0;
}
