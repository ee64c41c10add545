#pragma once
// What the mock model says. A script is a list of bytes to send, each after a delay, and what becomes of the connection
// afterwards. The two usual answers (whole, streamed) are made once; every fault is a script too, so that the server
// knows nothing about faults.
//
// The request's `model` chooses: "mock-FAULT" or "mock-FAULT:NUMBER" names a fault, anything else gets the usual
// answer.
//
//   slow:MS        the usual answer, MS milliseconds late          hang           no answer, connection stays open
//   drip:MS        200 pieces of one word, MS apart                hang-stream    one piece, then silence
//   429:N 500:N    N failures, then one good answer, and again     cut            half a chunk, then the connection
//   closes
//                  (no N: always); 429 says Retry-After: 1         cut-head       closes without a byte
//   401            key refused                                     garbage        bytes that are not HTTP
//   type           200 with an HTML page                           garbage-stream a good head, bytes that are not SSE
//   bad-json       JSON that ends too early                        huge           an answer of NUMBER MiB (default 64)
//   error-stream   one piece, then an error event                  empty          an answer without text
//   long:N         an answer of N sentences                        echo           "COUNT: TEXT" of the messages it got
//
// Every error text holds kProviderText, so that a test can look for what must not reach a user.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace talaria::bench {

inline constexpr std::string_view kProviderText = "PROVIDER-TEXT-4711";
inline constexpr std::string_view kAnswerText = "Hello from the mock model.";

struct Step {
  std::string bytes;
  int delay_ms = 0;  // before the bytes
  int repeat = 1;    // how often, each with its delay
};

enum class ScriptEnd { keep, close, hang };  // hang: answer nothing more until the client closes

struct Script {
  std::vector<Step> steps;
  ScriptEnd end = ScriptEnd::keep;
};

class ScriptBook {
 public:
  // `fault` (without "mock-") is for every request, whatever its model; empty: the model chooses.
  explicit ScriptBook(std::string_view fault);

  // The usual answer, made once; nullptr when `body` asks for something else and build() must be called.
  [[nodiscard]] const std::string* usual(std::string_view body) const;
  // The script for a POST to /v1/chat/completions. Counts requests for faults like "429:2".
  [[nodiscard]] Script build(std::string_view body);
  [[nodiscard]] const std::string& models() const { return models_; }
  [[nodiscard]] static std::string not_found();

 private:
  [[nodiscard]] std::string_view fault_of(std::string_view body) const;

  std::string fault_;
  std::string whole_;
  std::string streamed_;
  std::string streamed_usage_;
  std::string models_;
  std::map<std::string, std::uint64_t, std::less<>> asked_;  // per fault; a test's few names
};

// A response with Content-Length. `headers`: further fields, each ending in CRLF.
[[nodiscard]] std::string http_response(std::string_view status, std::string_view type, std::string_view body,
                                        std::string_view headers = "");

}  // namespace talaria::bench
