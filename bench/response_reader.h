#pragma once
// Reads one HTTP/1.1 response after the other from a byte stream, as cheaply as a load generator must: whole bodies and
// chunked ones (RFC 9112, 6 and 7.1), no other framing. Collects the answer's text from every "content":"…" member, so
// that each single answer can be held against what the model said.

#include <cstddef>
#include <string>
#include <string_view>

namespace talaria::bench {

class ResponseReader {
 public:
  enum class State { more, done, broken };

  // Takes the next bytes; must not be called with bytes beyond a response's end (a closed-loop client never gets any).
  State feed(std::string_view bytes);
  // Ready for the next response.
  void reset();

  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  // Some text of the answer has arrived.
  [[nodiscard]] bool has_text() const { return !text_.empty(); }
  // The answer, JSON escapes as they came.
  [[nodiscard]] const std::string& text() const { return text_; }
  // A stream's "data: [DONE]" has arrived.
  [[nodiscard]] bool stream_ended() const { return stream_ended_; }
  [[nodiscard]] const std::string& body() const { return body_; }

 private:
  enum class Part { head, whole, chunk_size, chunk_data, trailer };
  State parse_head();
  State parse_chunks();
  void scan_body();

  Part part_ = Part::head;
  std::string in_;        // not yet understood
  std::size_t left_ = 0;  // of the body or the chunk
  int status_ = 0;
  bool keep_alive_ = true;
  std::string body_;         // without framing
  std::size_t scanned_ = 0;  // of body_
  std::string text_;
  bool stream_ended_ = false;
};

}  // namespace talaria::bench
