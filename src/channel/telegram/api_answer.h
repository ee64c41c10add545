#pragma once
// Answers of the Bot API, and what a failed call means (https://core.telegram.org/bots/api#making-requests).
//
// A call that changes something may fail in three ways that must not be mixed up: it certainly did not happen; it was
// refused for good; or nobody knows, because the connection was lost after the request was written. Only the first may
// be tried again without a word (R3).

#include <expected>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "channel/channel.h"

namespace talaria::telegram {

struct ApiFailure {
  enum class Kind {
    unsent,   // the request did not leave
    lost,     // it left, and no answer came that can be read
    refused,  // Telegram said no: code and what are its own
  };
  Kind kind = Kind::unsent;
  int code = 0;      // HTTP's or Telegram's error code; 0: none
  std::string what;  // for the log; never with the token
  Millis retry_after{0};
  std::int64_t migrate_to = 0;  // the chat has this number now; 0: it has not moved

  // Refused with words of Telegram's that contain this, without regard to case.
  [[nodiscard]] bool says(std::string_view words) const;
};

template <class T>
using ApiResult = std::expected<T, ApiFailure>;

// The result of {"ok": true, "result": …}.
[[nodiscard]] ApiResult<boost::json::value> parse_answer(int status, std::string_view body);

// `repeatable`: to do it twice is the same as doing it once (an edit).
[[nodiscard]] DeliveryError delivery_error(const ApiFailure& failure, bool repeatable);

}  // namespace talaria::telegram
