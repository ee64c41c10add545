// HTTP from hostile peers, both sides, and the addresses people write. The first byte chooses what is fed, the second
// how it is cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "net/http_client.h"
#include "net/http_wire.h"
#include "net/listen.h"
#include "net/request_reader.h"
#include "net/response_reader.h"

using namespace talaria;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

struct Requests {
  std::vector<HttpRequest> done;
  bool rejected = false;
};

Requests read_requests(std::string_view text, std::size_t piece, std::size_t header_bytes, std::size_t body_bytes) {
  Requests result;
  RequestReader reader(header_bytes, body_bytes);
  std::string buffer;
  while (!text.empty() && !result.rejected) {
    buffer += text.substr(0, piece);
    text.remove_prefix(std::min(piece, text.size()));
    while (!buffer.empty()) {
      const auto taken = reader.feed(buffer);
      require(taken <= buffer.size());
      buffer.erase(0, taken);
      if (reader.rejection()) {
        require(reader.rejection()->status >= 400 &&
                reader.rejection()->message.find_first_of("\"\\\r\n") == std::string::npos);
        result.rejected = true;
        break;
      }
      if (!reader.done()) break;
      result.done.push_back(reader.take());
      const auto& request = result.done.back();
      require(request.body.size() <= body_bytes);
      require(is_safe_target(request.target) && is_token(request.method));
      for (const auto& [name, value] : request.headers.all()) require(is_token(name));
    }
    require(result.rejected || buffer.size() <= header_bytes);
  }
  return result;
}

bool same(const HttpHeaders& a, const HttpHeaders& b) { return a.all() == b.all(); }

void requests(std::string_view text, std::size_t piece) {
  // Wide limits: one reading whatever the cuts. A head that ends early in an error may be noticed sooner in one piece,
  // so only what both have read is compared, and neither may have read more than the other unless that one gave up.
  const auto whole = read_requests(text, text.size() + 1, 1 << 20, 1 << 20);
  const auto cut = read_requests(text, piece, 1 << 20, 1 << 20);
  require(whole.done.size() == cut.done.size());
  for (std::size_t i = 0; i < whole.done.size(); ++i) {
    const auto &a = whole.done[i], &b = cut.done[i];
    require(a.method == b.method && a.target == b.target && a.body == b.body && same(a.headers, b.headers));
  }
  (void)read_requests(text, piece, 256, 64);
}

struct Response {
  HttpResponse response;
  std::string body;
  bool done = false;
};

Response read_response(std::string_view text, std::size_t piece, std::size_t header_bytes, std::size_t body_bytes,
                       bool head_only) {
  Response result;
  ResponseReader reader({header_bytes, body_bytes, head_only, {}, [&](std::string_view data) {
                           result.body += data;
                           return true;
                         }});
  std::string buffer;
  while (!text.empty() && !reader.done()) {
    buffer += text.substr(0, piece);
    text.remove_prefix(std::min(piece, text.size()));
    const auto taken = reader.feed(buffer);
    if (!taken) return result;
    buffer.erase(0, *taken);
    require(reader.done() || buffer.size() <= header_bytes);
  }
  if (!reader.done() && !reader.feed_end()) return result;
  require(result.body.size() <= body_bytes);
  result.done = reader.done();
  result.response = reader.take();
  return result;
}

void response(std::string_view text, std::size_t piece, bool head_only) {
  const auto whole = read_response(text, text.size() + 1, 1 << 20, 1 << 20, head_only);
  const auto cut = read_response(text, piece, 1 << 20, 1 << 20, head_only);
  require(whole.done == cut.done);
  if (whole.done) {
    require(whole.response.status == cut.response.status && same(whole.response.headers, cut.response.headers) &&
            whole.body == cut.body);
  }
  (void)read_response(text, piece, 256, 64, head_only);
}

void addresses(std::string_view text) {
  if (const auto endpoint = parse_endpoint(text)) {
    require(to_string(*endpoint) == to_string(*parse_endpoint(to_string(*endpoint))));
    (void)is_loopback(*endpoint);
  }
  if (const auto url = parse_http_url(text)) {
    require(url->origin.port != 0 && !url->origin.host.empty());
    require(is_safe_target(url->target) && url->target.front() == '/');
    require(is_safe_target(url->origin.host) && url->origin.host.find('@') == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = 1 + data[1] % 64;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0]) {
    case 'q': requests(text, piece); break;
    case 'r': response(text, piece, false); break;
    case 'h': response(text, piece, true); break;
    case 'a': addresses(text); break;
    default: break;
  }
  return 0;
}
