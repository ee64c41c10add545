#pragma once
// The records that processes leave for each other (lock file, announcement) are one flat JSON object each. Whoever can
// write the file can write anything into it, so reading is strict: bounded, flat, UTF-8, the right types and ranges,
// nothing after the object but white space, and no text that would steer a terminal. Unknown members are ignored, so
// that two versions understand each other.

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "process/identity.h"

namespace talaria {

// `what` names the record in messages: "lock record". At most `limit` bytes.
[[nodiscard]] Result<boost::json::object> parse_record(std::string_view text, std::size_t limit, std::string_view what);

// Members by name, with the checks above. `max_bytes` bounds the text.
[[nodiscard]] Result<std::string> text_member(const boost::json::object& object, std::string_view name,
                                              std::size_t max_bytes);
[[nodiscard]] Result<std::int64_t> number_member(const boost::json::object& object, std::string_view name,
                                                 std::int64_t min, std::int64_t max);
[[nodiscard]] Result<Incarnation> incarnation_members(const boost::json::object& object);
void put_incarnation(boost::json::object& object, const Incarnation& incarnation);

// Text as a record may hold it: control characters escaped, valid UTF-8, at most `max_bytes`.
[[nodiscard]] std::string record_text(std::string_view text, std::size_t max_bytes);

}  // namespace talaria
