#pragma once
// A status document (interface.md) for people: the whole of it in one look.

#include <boost/json.hpp>
#include <string>

#include "base/time.h"

namespace talaria::cli {

// Ends with a newline. `now` is for "since … (3 h 5 min)".
[[nodiscard]] std::string status_text(const boost::json::object& status, UnixMillis now, bool colour);

// "12 s", "3 min", "5 h 12 min", "9 d 3 h". Negative: "0 s".
[[nodiscard]] std::string duration_words(std::int64_t milliseconds);

}  // namespace talaria::cli
