#pragma once
// Replies as webhooks to others: one POST each, signed as Standard Webhooks, and what its answer means to the outbox.

#include <expected>
#include <string>
#include <string_view>

#include <boost/asio/any_io_executor.hpp>

#include "base/time.h"
#include "channel/channel.h"
#include "net/http_client.h"

namespace talaria::webhook {

// The same for every attempt of one outbox row, and for no other: the row's number, and a digest of what it says, for
// a store that was made anew counts from 1 again. The receiver may rely on it to recognise a repeat.
[[nodiscard]] std::string message_id(const Reply& reply);

// {"type": "message", "timestamp": …, "data": {…}}: the fields are listed in docs/webhooks.md.
[[nodiscard]] std::string message_body(const Reply& reply, UnixMillis now);

// What the receiver's status means: 2xx took it; 4xx never will, except for those that speak of time or haste (408,
// 409, 425, 429); all else may pass.
[[nodiscard]] std::expected<Receipt, DeliveryError> judge(int status, std::string_view retry_after, std::string id,
                                                          UnixMillis now);
// Retry-After (RFC 9110, 10.2.3): seconds or a date; at most a day, 0 for what can't be read.
[[nodiscard]] Millis parse_retry_after(std::string_view value, UnixMillis now);

class Outbound {
 public:
  // `url` has passed check_webhook_url; `key`: see standard_key(). `clock` must outlive it.
  Outbound(asio::any_io_executor executor, const WallClock& clock, const std::string& url, std::string key,
           const std::string& ca_file);
  // A broken connection is no unknown fate: the receiver recognises a repeat.
  Task<std::expected<Receipt, DeliveryError>> post(Reply reply, Deadline deadline);

 private:
  const WallClock& clock_;
  HttpUrl url_;
  std::string key_;
  HttpClient client_;
};

}  // namespace talaria::webhook
