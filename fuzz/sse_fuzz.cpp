// Server-sent events from a hostile server: the same events however the bytes are cut, and what was read can be written
// and read again.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <tuple>
#include <vector>

#include "net/sse.h"

using namespace talaria;

namespace {

struct Parsed {
  std::vector<SseEvent> events;
  bool failed = false;
};

Parsed parse(std::string_view text, std::size_t piece) {
  Parsed parsed;
  SseParser parser(512);
  while (!text.empty() && !parsed.failed) {
    const auto bytes = text.substr(0, piece);
    text.remove_prefix(bytes.size());
    parsed.failed = !parser.feed(bytes, [&](const SseEvent& event) {
      if (event.data.size() > 512) std::abort();
      parsed.events.push_back(event);
      return true;
    });
  }
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 32;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = parse(text, text.size() + 1);
  const auto cut = parse(text, piece);
  if (whole.failed != cut.failed) std::abort();
  if (whole.events.size() != cut.events.size()) std::abort();
  for (std::size_t i = 0; i < whole.events.size(); ++i) {
    const auto& [a, b] = std::tie(whole.events[i], cut.events[i]);
    if (a.data != b.data || a.event != b.event || a.id != b.id) std::abort();
    const auto again = parse(format_sse(a.data), piece);
    if (!again.failed && (again.events.size() != 1 || again.events[0].data != a.data)) std::abort();
  }
  return 0;
}
