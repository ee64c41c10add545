#include "response_reader.h"

#include <strings.h>

#include <charconv>

namespace talaria::bench {
namespace {

bool starts_with_name(std::string_view line, std::string_view name) {
  return line.size() >= name.size() && strncasecmp(line.data(), name.data(), name.size()) == 0;
}

std::string_view value_of(std::string_view line) {
  const auto start = line.find_first_not_of(" \t", line.find(':') + 1);
  return start == std::string_view::npos ? std::string_view() : line.substr(start);
}

bool parse_number(std::string_view text, int base, std::size_t& number) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return failure == std::errc() && end != text.data();
}

}  // namespace

void ResponseReader::reset() {
  part_ = Part::head;
  in_.clear();
  body_.clear();
  text_.clear();
  left_ = scanned_ = 0;
  status_ = 0;
  keep_alive_ = true;
  stream_ended_ = false;
}

ResponseReader::State ResponseReader::feed(std::string_view bytes) {
  in_ += bytes;
  if (part_ == Part::head) {
    if (const State state = parse_head(); part_ == Part::head) return state;
  }
  State state = State::more;
  if (part_ == Part::whole) {
    if (in_.size() > left_) return State::broken;
    left_ -= in_.size();
    body_ += in_;
    in_.clear();
    if (left_ == 0) state = State::done;
  } else {
    state = parse_chunks();
  }
  scan_body();
  return state;
}

ResponseReader::State ResponseReader::parse_head() {
  const auto end = in_.find("\r\n\r\n");
  if (end == std::string::npos) return in_.size() > 64 * 1024 ? State::broken : State::more;
  const std::string_view head = std::string_view(in_).substr(0, end + 2);
  std::size_t status = 0;
  if (!head.starts_with("HTTP/1.1 ") || !parse_number(head.substr(9), 10, status)) return State::broken;
  status_ = static_cast<int>(status);
  Part next = Part::head;
  for (auto at = head.find("\r\n") + 2; at < head.size(); at = head.find("\r\n", at) + 2) {
    const std::string_view line = head.substr(at, head.find("\r\n", at) - at);
    if (starts_with_name(line, "content-length:")) {
      if (!parse_number(value_of(line), 10, left_)) return State::broken;
      next = Part::whole;
    } else if (starts_with_name(line, "transfer-encoding:")) {
      next = Part::chunk_size;
    } else if (starts_with_name(line, "connection:") && starts_with_name(value_of(line), "close")) {
      keep_alive_ = false;
    }
  }
  if (next == Part::head) return State::broken;
  part_ = next;
  in_.erase(0, end + 4);
  return State::more;
}

ResponseReader::State ResponseReader::parse_chunks() {
  std::size_t at = 0;
  State state = State::more;
  const std::string_view in(in_);
  for (;;) {
    if (part_ == Part::chunk_data) {
      // The chunk's CRLF is counted in left_ but does not belong to the body.
      const std::size_t take = std::min(left_, in.size() - at);
      const std::size_t data = left_ > 2 ? std::min(left_ - 2, take) : 0;
      body_ += in.substr(at, data);
      at += take;
      left_ -= take;
      if (left_ > 0) break;
      part_ = Part::chunk_size;
    }
    const auto line_end = in.find("\r\n", at);
    if (line_end == std::string_view::npos) break;
    const std::string_view line = in.substr(at, line_end - at);
    at = line_end + 2;
    if (part_ == Part::trailer) {
      if (!line.empty()) continue;
      state = at == in.size() ? State::done : State::broken;
      break;
    }
    if (!parse_number(line, 16, left_)) return State::broken;
    part_ = left_ == 0 ? Part::trailer : Part::chunk_data;
    left_ += 2;
  }
  in_.erase(0, at);
  return state;
}

// A member's value is taken once it is there whole; the rest waits for more bytes.
void ResponseReader::scan_body() {
  constexpr std::string_view kMember = R"("content":")";
  const std::string_view body(body_);
  for (;;) {
    const auto at = body.find(kMember, scanned_);
    if (at == std::string_view::npos) break;
    const auto start = at + kMember.size();
    auto end = start;
    while (end < body.size() && body[end] != '"') end += body[end] == '\\' ? 2 : 1;
    if (end >= body.size()) return;
    text_ += body.substr(start, end - start);
    scanned_ = end + 1;
  }
  if (body.find("data: [DONE]", scanned_) != std::string_view::npos) stream_ended_ = true;
}

}  // namespace talaria::bench
