#pragma once
// What platforms and services POST to us: /hooks/NAME of the API's server, given to the channel NAME. The endpoint
// proves who sent it (a signature, a secret token); until then nothing of it may be believed (R10).

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/task.h"

namespace talaria {

struct HookRequest {
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, in the order of the request
  std::string body;                                          // as it came; signatures are over these bytes
  std::string peer;                                          // address, for the log

  // The first header of that name (lower case); empty: none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

struct HookResponse {
  int status = 204;
  std::string title;    // of the problem document (RFC 9457) when status is 400 or more; fit for the sender
  int retry_after = 0;  // seconds; 0: no such header
};

class HookEndpoint {
 public:
  virtual ~HookEndpoint() = default;
  // Answers 2xx only after what was sent is journalled (R1). Concurrent calls are allowed; all on the event loop.
  virtual Task<HookResponse> handle(HookRequest request) = 0;
};

}  // namespace talaria
