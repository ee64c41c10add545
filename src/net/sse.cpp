#include "net/sse.h"

#include <fmt/format.h>

namespace talaria {

// One line without its end. False: the receiver has had enough.
bool SseParser::take_line(std::string_view line, const std::function<bool(const SseEvent&)>& on_event) {
  if (first_ && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  first_ = false;
  if (line.empty()) {
    bool go_on = true;
    if (has_data_) {
      current_.data.pop_back();  // the line feed behind the last data line
      go_on = on_event(current_);
    }
    current_.data.clear();
    current_.event.clear();  // the id stays: it is the *last* event's id until another one comes
    has_data_ = false;
    return go_on;
  }
  const auto colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    current_.data.append(value).push_back('\n');
    has_data_ = true;
  } else if (name == "event") {
    current_.event = value;
  } else if (name == "id" && value.find('\0') == std::string_view::npos) {
    current_.id = value;
  }  // comments (no name), retry and unknown fields mean nothing here
  return true;
}

Result<> SseParser::feed(std::string_view bytes, const std::function<bool(const SseEvent&)>& on_event) {
  while (!bytes.empty()) {
    if (std::exchange(skip_lf_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const auto end = bytes.find_first_of("\r\n");
    const std::string_view piece = bytes.substr(0, end);
    if (current_.data.size() + line_.size() + piece.size() > max_) {
      return fail(ErrorKind::limit, fmt::format("an event of the stream is longer than {} bytes", max_));
    }
    if (end == std::string_view::npos) {
      line_.append(piece);
      return {};
    }
    skip_lf_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    bool go_on = false;
    if (line_.empty()) {
      go_on = take_line(piece, on_event);
    } else {
      line_.append(piece);
      go_on = take_line(line_, on_event);
      line_.clear();
    }
    if (!go_on) return {};
  }
  return {};
}

std::string format_sse(std::string_view data) {
  std::string out;
  out.reserve(data.size() + 8);
  while (true) {
    const auto end = data.find_first_of("\r\n");
    out.append("data: ").append(data.substr(0, end)).push_back('\n');
    if (end == std::string_view::npos) break;
    data.remove_prefix(data.substr(end).starts_with("\r\n") ? end + 2 : end + 1);
  }
  out.push_back('\n');
  return out;
}

}  // namespace talaria
