#pragma once
// Server-sent events (WHATWG HTML, 9.2): an incremental parser and a writer.

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace talaria {

struct SseEvent {
  std::string event;  // empty: "message"
  std::string data;   // lines joined by \n
  std::string id;
};

class SseParser {
 public:
  // An event longer than `max_event_bytes` is an error of kind limit.
  explicit SseParser(std::size_t max_event_bytes = 1024 * 1024) : max_(max_event_bytes) {}
  // Feeds bytes cut anywhere; calls `on_event` for every complete event with data. `on_event` returns false to stop.
  Result<> feed(std::string_view bytes, const std::function<bool(const SseEvent&)>& on_event);

 private:
  bool take_line(std::string_view line, const std::function<bool(const SseEvent&)>& on_event);

  std::size_t max_;
  std::string line_;
  SseEvent current_;
  bool has_data_ = false;
  bool skip_lf_ = false;
  bool first_ = true;
};

// "data: …\n\n"; a newline in `data` becomes further data lines.
[[nodiscard]] std::string format_sse(std::string_view data);

}  // namespace talaria
