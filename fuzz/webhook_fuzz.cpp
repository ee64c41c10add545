// Webhooks from strangers: headers and body of any bytes at each scheme, proved or not, and templates of any text over
// any document. What is checked: nothing unproved passes, an identity is one, and texts keep their bounds.

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>

#include "channel/text_split.h"
#include "channel/webhook/inbound.h"
#include "channel/webhook/outbound.h"

using namespace talaria;
using namespace talaria::webhook;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

constexpr std::string_view secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
constexpr UnixMillis now = 1'614'265'330'000;

// "name: value" lines, a blank line, the body.
HookRequest request_of(std::string_view input) {
  HookRequest request;
  while (!input.empty()) {
    const auto end = std::min(input.find('\n'), input.size());
    const std::string_view line = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (line.empty()) break;
    const auto colon = line.find(": ");
    if (colon != line.npos) request.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  request.body = input;
  return request;
}

void read(Scheme scheme, const HookRequest& request) {
  const auto report = read_report(scheme, "id", request);
  if (!report) return;
  (void)is_wanted(scheme, report->event, std::vector<std::string>{"issues.opened", "push"});
  check(describe("hook", *report, true).size() <= max_text);
  const auto pieces = parse_placeholders(request.header("template"));
  if (!pieces) return;
  const std::string text = render(*pieces, *report);
  check(text.size() <= max_text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  HookRequest request = request_of(input);
  for (const Scheme scheme : {Scheme::github, Scheme::gitlab, Scheme::standard}) {
    const auto id = verify(scheme, secret, request, now);
    if (id) check(!id->empty() && id->size() <= 255);
    // Signed for another body.
    request.body += 'x';
    const auto forged = verify(scheme, secret, request, now);
    request.body.pop_back();
    check(!forged || !id || scheme == Scheme::gitlab);
    read(scheme, request);
  }
  (void)parse_retry_after(input.substr(0, 64), now);
  std::string bytes;
  if (decode_base64(input.substr(0, 64), bytes)) check(encode_base64(bytes).size() == std::min<std::size_t>(size, 64));
  return 0;
}
